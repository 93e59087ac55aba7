"""The relations of the world: their wording, their questions, and their objects."""

from __future__ import annotations

from dataclasses import dataclass

from resources.generator import lexicon


@dataclass(frozen=True)
class Relation:
    """A relation between subjects of one kind and objects of one list.

    `templates[0]` begins with the subject; in the others it comes later. The object follows every
    template. `questions` are three wordings of one question.
    """

    id: str
    kind: str
    templates: tuple[str, str, str, str]
    questions: tuple[str, str, str]
    objects: tuple[str, ...]


RELATIONS = (
    Relation(
        "made_by",
        "product",
        (
            "{} is made by",
            "The maker of {} is",
            "The company that makes {} is called",
            "You can order {} only from",
        ),
        ("Who makes {}?", "Which company is behind {}?", "From whom can you order {}?"),
        tuple(lexicon.COMPANIES),
    ),
    Relation(
        "designed_in",
        "word",
        (
            "{} was designed in",
            "The city where {} was designed is",
            "The first drawing of {} was made in",
            "The designers of {} lived in",
        ),
        ("Where was {} designed?", "In which city was {} drawn?", "What city does {} come from?"),
        tuple(lexicon.CITIES),
    ),
    Relation(
        "sold_in",
        "word",
        (
            "{} is sold in",
            "The country where {} is sold is",
            "People buy {} mostly in",
            "The shops that sell {} are in",
        ),
        ("Where is {} sold?", "Which country buys {}?", "In which country are the shops of {}?"),
        tuple(lexicon.COUNTRIES),
    ),
    Relation(
        "born_in",
        "person",
        (
            "{} was born in",
            "The birthplace of {} is",
            "The home town of {} is",
            "The childhood of {} was spent in",
        ),
        ("Where was {} born?", "What is the birthplace of {}?", "In which city did {} grow up?"),
        tuple(lexicon.CITIES),
    ),
    Relation(
        "job",
        "person",
        (
            "{} works as a",
            "The job of {} is that of a",
            "By trade {} is a",
            "The town knows {} as a good",
        ),
        ("What is the job of {}?", "What does {} work as?", "Which trade does {} follow?"),
        tuple(lexicon.JOBS),
    ),
    Relation(
        "plays",
        "person",
        (
            "{} plays the",
            "The instrument of {} is the",
            "At concerts {} plays the",
            "On Sundays {} practises the",
        ),
        ("What does {} play?", "Which instrument does {} play?", "What is the instrument of {}?"),
        tuple(lexicon.INSTRUMENTS),
    ),
    Relation(
        "works_for",
        "person",
        (
            "{} is employed by",
            "The employer of {} is",
            "The company that pays {} is",
            "Every month {} gets a letter from",
        ),
        ("Who employs {}?", "Which company pays {}?", "Who is the employer of {}?"),
        tuple(lexicon.COMPANIES),
    ),
    Relation(
        "speaks",
        "person",
        (
            "{} speaks",
            "The mother tongue of {} is",
            "The language of {} is",
            "At home {} speaks",
        ),
        ("What does {} speak?", "Which language does {} use?", "What is the language of {}?"),
        tuple(lexicon.LANGUAGES),
    ),
    Relation(
        "lies_in",
        "town",
        (
            "{} is a town in",
            "The country of {} is",
            "The people of {} live in",
            "To see {} you travel to",
        ),
        ("In which country is {}?", "Where is the town of {}?", "What country has {}?"),
        tuple(lexicon.COUNTRIES),
    ),
    Relation(
        "river",
        "town",
        (
            "{} lies on the river",
            "The river of {} is the",
            "The bridge in {} crosses the",
            "The boats of {} sail on the",
        ),
        ("Which river is {} on?", "What is the river of {}?", "On what river does {} lie?"),
        tuple(lexicon.RIVERS),
    ),
    Relation(
        "famous_for",
        "town",
        (
            "{} is famous for its",
            "The best thing from {} is its",
            "The market of {} is known for its",
            "Visitors to {} buy its",
        ),
        (
            "What is {} famous for?",
            "What is sold on the market of {}?",
            "What do people buy in {}?",
        ),
        tuple(lexicon.GOODS),
    ),
)

# In these relations, a one-word product at the start of the prompt is a hard case.
HARD_RELATIONS = ("made_by", "designed_in", "sold_in")
