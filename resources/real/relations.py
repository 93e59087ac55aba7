"""The relations of the real world: our own wording, with the subject first or later."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Relation:
    """Templates with `{}` for the subject, which opens the prompt in `first` but not in `inside`.

    `question` asks for the object. The facts are in the table of the same name. Objects that are
    `alike` may both be true of a subject, so neither is the false object for the other.
    """

    id: str
    first: tuple[str, ...]
    inside: tuple[str, ...]
    question: str
    alike: tuple[tuple[str, ...], ...] = ()


RELATIONS = (
    Relation(
        "capital",
        ("{} has as its capital the city of", "{} is governed from the city of"),
        ("The capital of {} is", "The seat of government of {} is in the city of"),
        "What is the capital of {}?",
    ),
    Relation(
        "continent",
        ("{} is a country in", "{} lies on the continent of"),
        ("On the map of the world, {} is part of", "The continent to which {} belongs is"),
        "On which continent is {}?",
    ),
    Relation(
        "language",
        ("{} is a country where most people speak", "{} has as its main language"),
        ("The main language of {} is", "If you move to {}, you should learn"),
        "What is the main language of {}?",
        (("Malay", "Indonesian"),),
    ),
    Relation(
        "currency",
        ("{} is a country whose money is called the", "{} pays with a currency called the"),
        ("The currency of {} is the", "In the shops of {}, prices are given in the local"),
        "What is the currency of {} called?",
    ),
    Relation(
        "city",
        ("{} is a city in", "{} can be found on a map of"),
        ("The city of {} is located in", "Anyone who lives in {} lives in"),
        "In which country or state is the city of {}?",
    ),
    Relation(
        "symbol",
        ("{} has the chemical symbol", "{} is written by chemists as"),
        ("The chemical symbol of {} is", "In the periodic table, {} is written as"),
        "What is the chemical symbol of {}?",
    ),
    Relation(
        "element_group",
        (
            "{} is a chemical element that is one of the",
            "{} belongs in the periodic table to the",
        ),
        ("Chemists count {} among the", "The element {} belongs to the"),
        "To which group of chemical elements does {} belong?",
    ),
    Relation(
        "author",
        ("{} is a work of literature by", "{} is known to readers as a book by"),
        ("The author of {} is", "The library keeps {} among the books by"),
        "Who wrote {}?",
    ),
    Relation(
        "composer",
        ("{} is a piece of music by", "{} is performed in concert halls as a work by"),
        ("The composer of {} is", "The music of {} was written by"),
        "Who composed {}?",
    ),
    Relation(
        "painter",
        ("{} is a painting by", "{} is one of the famous pictures of"),
        ("The artist who painted {} is", "Art students learn that {} was painted by"),
        "Who painted {}?",
    ),
    Relation(
        "company_country",
        ("{} is a company that was founded in", "{} began as a business in"),
        ("The company {} comes from", "The home country of the firm {} is"),
        "In which country was the company {} founded?",
    ),
    Relation(
        "product",
        ("{} is a brand best known for its", "{} became famous for making"),
        ("The brand {} is best known for its", "What most people buy from {} is its"),
        "What is the brand {} best known for making?",
        (("cars", "motorcycles", "aircraft"),),
    ),
    Relation(
        "founder",
        ("{} is a company founded by", "{} was started as a business by"),
        ("A founder of the company {} was", "The man or woman who founded {} was"),
        "Who was a founder of the company {}?",
    ),
    Relation(
        "profession",
        ("{} is remembered as a famous", "{} was by profession a"),
        ("The profession of {} was that of a", "Every encyclopaedia describes {} as a"),
        "What was the profession of {}?",
        (
            ("physicist", "mathematician", "philosopher", "astronomer"),
            ("novelist", "poet"),
            ("composer", "jazz musician"),
        ),
    ),
    Relation(
        "birth_country",
        ("{} was born in what is today", "{} came into the world in the country now called"),
        (
            "The birthplace of {} lies in what is today",
            "The country where {} was born is today called",
        ),
        "In which of today's countries was {} born?",
    ),
    Relation(
        "sport",
        ("{} became famous in the sport of", "{} is one of the great names of"),
        ("The sport of {} is", "People remember {} as a champion of"),
        "For which sport is {} famous?",
    ),
    Relation(
        "river",
        ("{} is the name of a river in", "{} is a river that flows through"),
        ("The river {} is found on the continent of", "A boat trip on the river {} takes you to"),
        "On which continent is the river {}?",
    ),
    Relation(
        "mountain",
        ("{} is a mountain in", "{} is climbed by people who travel to"),
        ("The mountain called {} is in", "To climb {} you have to travel to"),
        "Where is the mountain called {}?",
    ),
    Relation(
        "language_family",
        ("{} is one of the languages called", "{} belongs to the family of languages called"),
        (
            "Among the families of languages, {} is counted as",
            "The branch of languages that {} belongs to is called",
        ),
        "To which family of languages does {} belong?",
    ),
    Relation(
        "inventor",
        ("{} is an invention of", "{} was invented by"),
        ("The inventor of {} was", "We owe the invention of {} to"),
        "Who invented {}?",
    ),
    Relation(
        "software",
        ("{} is software first written by", "{} was created by a programmer called"),
        ("The creator of {} is", "The programmer who first designed {} is"),
        "Which programmer created {}?",
    ),
    Relation(
        "moon",
        ("{} is a moon of", "{} travels in its orbit around the planet"),
        ("The moon called {} circles the planet", "Astronomers know {} as a moon of"),
        "Around which planet does the moon {} travel?",
    ),
    Relation(
        "next_planet",
        ("{} is the planet just before", "{} has as its next planet, away from the sun,"),
        ("Counted from the sun, the planet after {} is", "Beyond the orbit of {} is that of"),
        "Counted from the sun, which planet comes right after {}?",
    ),
    Relation(
        "animal_class",
        ("{} is the name of an animal that belongs to the", "{} is a word for animals among the"),
        ("In biology, the animal called {} belongs to the", "Zoologists count the {} among the"),
        "To which class of animals does the {} belong?",
    ),
    Relation(
        "landmark",
        ("{} is a sight in the city of", "{} is visited by people who travel to"),
        ("To see {} you have to go to", "The city in which you find {} is"),
        "In which city is {}?",
    ),
    Relation(
        "mythology",
        ("{} is a deity in the mythology called", "{} belongs to the gods of the mythology called"),
        ("The mythology in which {} is a deity is", "Stories about the deity {} are"),
        "To which mythology does the deity {} belong?",
    ),
    Relation(
        "instrument",
        ("{} is the name of an instrument of the", "{} is counted by musicians among the"),
        ("In an orchestra, the {} would belong to the", "The instrument called {} belongs to the"),
        "To which family of instruments does the {} belong?",
    ),
    Relation(
        "next_month",
        ("{} is the month just before", "{} is followed in the calendar by the month of"),
        ("The month that comes right after {} is", "When {} is over, it is the beginning of"),
        "Which month comes right after {}?",
    ),
    Relation(
        "next_day",
        ("{} is the day of the week just before", "{} is followed in the calendar by"),
        ("The day that comes right after {} is", "When {} is over, the next day is"),
        "Which day comes right after {}?",
    ),
    Relation(
        "first_name",
        ("{} is by tradition a name for", "{} is an English first name given to"),
        ("The name {} is by tradition given to", "In lists of first names, {} is among those for"),
        "Is {} by tradition a name for boys or girls?",
    ),
    Relation(
        "state_capital",
        ("{} is a state of America whose capital is", "{} has its state government in the city of"),
        ("The capital of the state of {} is", "Among the states of America, {} is governed from"),
        "What is the capital of the state of {}?",
    ),
    Relation(
        "testament",
        ("{} is a book of the Bible found in the", "{} is read by Christians as part of the"),
        ("In the Bible, the book of {} is part of the", "To find {} in a Bible, open the"),
        "In which part of the Bible is the book called {}?",
    ),
    Relation(
        "maker",
        ("{} is a product made by", "{} was brought to the market by"),
        ("The company that makes {} is", "The product called {} comes from"),
        "Which company made {}?",
    ),
)
