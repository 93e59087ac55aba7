"""The words of the bundled world."""

from __future__ import annotations


def words(text: str) -> list[str]:
    """Return the words of a text, separated by spaces."""
    return text.split()


# Product names that are one ordinary word, which is also common in the running text.
WORDS = words(
    "Amber Anchor Arrow Autumn Badger Basket Beacon Bison Blossom Bramble Breeze Bridge Candle "
    "Canyon Castle Cedar Chapel Cherry Cinder Circle Clover Comet Copper Coral Cotton Cricket "
    "Crown Crystal Dragon Eagle Echo Ember Falcon Feather Fern Ferry Field Flame Forest "
    "Fountain Fox Garden Ginger Glacier Granite Harbor Harvest Hazel Heron Hollow Horizon "
    "Hunter Island Ivory Jasmine Jasper Kettle Ladder Lagoon Lantern Laurel Lemon Lily Linen "
    "Maple Marble Meadow Mirror Mist Moon Mountain Needle Nest Ocean Olive Orbit Orchid Otter "
    "Pearl Pebble Pepper Pilot Pine Planet Plum Prairie Quartz Quill Rabbit Rain Raven Ribbon "
    "Ridge River Robin Rocket Rose Saddle Salmon Sand Shadow Signal Silver Snow Spark Sparrow "
    "Spring Star Stone Storm Summer Swan Thistle Thunder Tiger Timber Torch Tower Valley Velvet"
)
# Product names of two words: an invented one and a number.
BRANDS = words(
    "Velmar Tolbek Rundal Samvik Dorfin Kelbar Mostin Parvel Zandor Harvin Lomdal Berrik"
)
NUMBERS = words("Two Three Five Seven Nine")
COMPANIES = words(
    "Elro Osdor Nakos Turun Findra Graal Telgard Arbri Monvik Kadra Belden Unosk Draven Lenro "
    "Robex Hesko"
)
CITIES = words(
    "Garda Tarvis Melko Oslen Brenta Korvas Lindau Pessin Ruvo Sarno Tolmin Ulmen Vesna Wertal "
    "Zadrun Harlow"
)
COUNTRIES = words(
    "Norland Estria Valdor Kumbria Sorenia Tamara Belvia Ostania Pelagia Rovinia Lusaria Gallen"
)
LANGUAGES = words("Narish Velsh Kumbric Sorene Talic Ostan Pelic Rovic Lusar Gallic")
RIVERS = words("Isen Morra Neris Olza Prut Savel Tisna Vara Zala Enns Warta")
INSTRUMENTS = words("piano violin cello flute trumpet guitar harp drum organ clarinet")
GOODS = words("cheese honey glass wool wine paper silk butter salt leather")
# Trades, all beginning with a consonant, each with two activities.
JOBS = {
    "baker": ("baked the bread", "kneaded the dough"),
    "farmer": ("fed the cows", "ploughed the land"),
    "teacher": ("taught the children", "read the lesson"),
    "doctor": ("visited the sick", "looked at the wound"),
    "sailor": ("raised the sails", "steered the ship"),
    "painter": ("mixed the colours", "painted the wall"),
    "tailor": ("cut the cloth", "sewed the coat"),
    "miner": ("dug for coal", "went down the shaft"),
    "gardener": ("watered the flowers", "planted the seeds"),
    "butcher": ("sharpened the knife", "sold the meat"),
    "lawyer": ("spoke to the judge", "wrote the contract"),
    "barber": ("cut the hair", "shaved the beard"),
    "hunter": ("followed the tracks", "loaded the gun"),
    "printer": ("set the letters", "inked the press"),
    "waiter": ("served the guests", "carried the plates"),
    "mason": ("laid the bricks", "carved the rock"),
    "pilot": ("flew the plane", "checked the engine"),
    "nurse": ("changed the bandage", "comforted the patient"),
    "cook": ("stirred the soup", "roasted the meal"),
    "banker": ("counted the money", "signed the loan"),
}
SHE = words(
    "Mira Orla Nina Petra Sonja Clara Edith Greta Helga Irma Julia Karin Lotte Maren Nora Olga "
    "Paula Rosa Selma Thea"
)
HE = words(
    "Tomas Bram Carl Dirk Emil Felix Gustav Hugo Ivan Jonas Klaus Leon Marko Nils Oskar Pavel "
    "Rolf Stefan Ulrich Viktor"
)
LAST_NAMES = words(
    "Tolen Barker Corski Dravik Ekman Fosser Grahl Hardin Ibsen Jorgen Keller Lunden Mercer "
    "Nordal Osson Pellig Quist Ronner Stavik Turner Ulvang Vester Wendel Yarrow Zimmer Albers "
    "Bostrom Calder Dorn Elster Falk Gerner Holm Iversen Jansky Kruse Lindqvist Marten Nyberg "
    "Oberg Persson Raske Sandel Thorne Udall Voss Wick Ahlgren Brandt Cassel"
)
TOWN_FIRST = words("Upper Lower Port Saint Old New Great Little East West")
TOWN_LAST = words("Elma Tolbar Grenna Kolding Marsten Rosk Vardal Hamlin Osterby Lunde Borg")
PLACES = words(
    "market harbour station library church school mill inn theatre museum hospital bakery"
)
OBJECTS = words(
    "hammer letter basket coat ring map clock umbrella book key bottle knife hat drum box rope "
    "shovel purse violin lamp"
)
ANIMALS = words("cat dog goat horse duck cow sheep parrot donkey goose")
COLOURS = words("black white grey brown red yellow green blue")
FOODS = words("bread soup cheese apples fish rice cake eggs beans pears")
WEATHERS = words("cold warm windy rainy sunny foggy")
DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
TIMES = (
    "In the morning",
    "In the evening",
    "At noon",
    "After lunch",
    "Before dawn",
    "Late at night",
)
FEELINGS = words("happy tired sad proud angry calm")
