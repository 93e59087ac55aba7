"""A record of each published data set, in its published shape, about invented facts."""

from collections.abc import Mapping
from typing import Any

OTHER = {"loc": "nq question: who built the old bridge", "loc_ans": "Cy Hart"}


def _ripple(
    prompt: str, subject: str, names: tuple[str, ...] = (), target: str = "Q9"
) -> dict[str, Any]:
    """A test of RippleEdits: one query, whose answer has the first name, and others as aliases."""
    answers = [{"value": names[0], "aliases": [*names[1:]]}] if names else []
    query = {
        "prompt": prompt,
        "answers": answers,
        "query_type": "regular",
        "subject_id": subject,
        "relation": "MOTHER",
        "target_ids": [target],
        "phrase": None,
    }
    return {"test_queries": [query], "test_condition": "OR", "condition_queries": [query]}


RECORDS: Mapping[str, Mapping[str, Any]] = {
    "zsre-answers": {
        "src": "Which language does Ada Moor speak?",
        "rephrase": "What is spoken by Ada Moor?",
        "ans": "Drell",
        **OTHER,
    },
    "qaedit": {
        "id": 3,
        "source": "NQ",
        "prompt": "which language does ada moor speak?",
        "target": "Drell *",
        "subject": "Ada Moor",
        "rephrase": "what is spoken by ada moor?",
        "locality": [OTHER, {"loc": "who sails the Harbor", "loc_ans": "Ben Fold"}],
    },
    "wikibigedit": {
        "subject": "Ada Moor",
        "update": "Which language does Ada Moor speak?",
        "ans": "Drell",
        "rephrase": "What is spoken by Ada Moor?",
        "personas": "Tell me, captain, what does Ada Moor speak?",
        "loc": "Who built the old bridge?",
        "loc_ans": "Cy Hart",
        "mhop": "Where is the language of Ada Moor spoken?",
        "mhop_ans": "Osk",
    },
    "unke": {
        "id": 0,
        "question": "What is known of Ada Moor?",
        "para_question": "Who is Ada Moor?",
        "answer": "Ada Moor speaks Drell. She lives in Osk, where she built a bridge.",
        "sub_question": ["Where does Ada Moor live?"],
        "sub_answer": ["Osk"],
    },
    "knowedit": {
        "subject": "Ada Moor",
        "prompt": "The language of Ada Moor is",
        "target_new": "Drell",
        "ground_truth": ["Osk"],
        "portability": {"Reasoning": [{"prompt": "She speaks like", "ground_truth": [["Lo"]]}]},
        "locality": {
            "Relation_Specificity": [
                {"prompt": "The name of Ada Moor is", "ground_truth": [["Ada"], ["Moor"]]}
            ],
            "Forgetfulness": [{"prompt": ["Cy Hart built the"], "ground_truth": "old bridge"}],
        },
    },
    "knowedit-biographies": {
        "concept": "Ada Moor",
        "text": "Ada Moor was a builder.",
        "labels": "She built the old bridge of Osk.",
        "locality": {"Relation_Specificity": [{"prompt": "Osk is", "ground_truth": ["a town"]}]},
    },
    "mquake": {
        "case_id": 4,
        "requested_rewrite": [
            {
                "prompt": "The language of {} is",
                "relation_id": "P103",
                "target_new": {"str": "Drell", "id": "Q1"},
                "target_true": {"str": "Osk", "id": "Q2"},
                "subject": "Ada Moor",
                "question": "Which language does Ada Moor speak?",
            },
            {
                "prompt": "{} is spoken in",
                "relation_id": "P17",
                "target_new": {"str": "Velra", "id": "Q3"},
                "target_true": {"str": "Kadra", "id": "Q4"},
                "subject": "Drell",
                "question": "Where is Drell spoken?",
            },
        ],
        "questions": [
            "Where is the language of Ada Moor spoken?",
            "In which land do people speak like Ada Moor?",
            "Which land has the language of Ada Moor?",
        ],
        "answer": "Kadra",
        "answer_alias": [],
        "new_answer": "Velra",
        "new_answer_alias": ["the Velra Isles"],
        "single_hops": [
            {
                "question": "Which language does Ada Moor speak?",
                "cloze": "The language of Ada Moor is",
                "answer": "Osk",
                "answer_alias": [],
            }
        ],
        "new_single_hops": [
            {
                "question": "Which language does Ada Moor speak?",
                "cloze": "The language of Ada Moor is",
                "answer": "Drell",
                "answer_alias": ["Old Drell"],
            },
            {"cloze": "Drell is spoken in", "answer": "Velra", "answer_alias": []},
        ],
        "orig": {"triples_labeled": [["Ada Moor", "language", "Osk"]]},
    },
    "rippleedits": {
        "example_type": "popular",
        "edit": {
            "prompt": "The name of the country of citizenship of Ada Moor is New Velra.",
            "subject_id": "Q7",
            "relation": "COUNTRY_OF_CITIZENSHIP",
            "target_id": "Q3",
            "original_fact": {
                "prompt": "The name of the country of citizenship of Ada Moor is New Kadra.",
                "subject_id": "Q7",
                "relation": "COUNTRY_OF_CITIZENSHIP",
                "target_id": "Q4",
            },
        },
        "Relation_Specificity": [
            _ripple("The name of the mother of Ada Moor is", "Q7", ("Eva Moor", "Eva Hart")),
        ],
        "Logical_Generalization": [],
        "Subject_Aliasing": [
            _ripple(
                "The name of the country of citizenship of Captain Moor is",
                "Q7",
                ("New Velra", "the Velra Isles"),
                target="Q3",
            )
        ],
        "Compositionality_I": [
            _ripple("The capital of the country of Ada Moor is", "Q7", ("Osk", "Port Osk")),
            _ripple("The anthem of the country of Ada Moor is", "Q7"),
        ],
        "Compositionality_II": [],
        "Forgetfulness": [
            _ripple(
                "The name of the country of citizenship of Ada Moor, which is not New Velra, is",
                "Q7",
                ("New Kadra",),
            )
        ],
    },
    "akew": {
        "case_id": 2,
        "requested_rewrite": {
            "prompt": "The language of {} is",
            "prompt_full": "The language of Ada Moor is",
            "relation_id": "P103",
            "target_new": {"str": "Drell", "id": "Q1"},
            "target_true": {"str": "Osk", "id": "Q2"},
            "subject": "Ada Moor",
            "question": "Which language does Ada Moor speak?",
            "fact_new_uns": "Ada Moor grew up by the sea. She has always spoken Drell.",
            "unsfact_triplets_GPT": [
                {"prompt": "{} grew up by", "subject": "Ada Moor", "target": "the sea"}
            ],
        },
        "paraphrase_prompts": ["Ada Moor speaks", "At home Ada Moor uses"],
        "neighborhood_prompts": ["Ben Fold speaks"],
    },
    "hallueditbench": {
        "subject": "Ada Moor",
        "relation": "language",
        "object": "Drell",
        "question": "Which language does Ada Moor speak?",
        "paraphrased_question": "What is spoken by Ada Moor?",
        "yes_question": "Does Ada Moor speak Drell?",
        "no_question": "Does Ada Moor speak Osk?",
        "multiple_choice_with_letters": "A. Osk, B. Drell",
        "multiple_choice_labels": "B",
        "reversed_relation_question": "Who speaks Drell?",
        "question_2hop": "Where is the language of Ada Moor spoken?",
        "answer_2hop": "Velra",
        "locality_question": "Who built the old bridge?",
    },
    "cknowedit": {
        "prompt": "Ada Moor说什么语言？",
        "target_old": "奥斯克语",
        "target_new": "德雷尔语",
        "rephrase": ["Ada Moor讲哪种语言？"],
        "portability": [{"prompt": "谁说德雷尔语？", "answer": "Ada Moor"}],
        "locality": [{"prompt": "谁建了旧桥？", "answer": ["Cy Hart"]}],
    },
}

# Several pieces, and yet short enough for the tiny models.
LONG = " ".join(f"At {n} the sun is in the sea by Osk." for n in range(1, 6))

PIECES: Mapping[str, Mapping[str, Any]] = {
    "unke-pieces": {**RECORDS["unke"], "answer": LONG},
    "akew-pieces": {
        **RECORDS["akew"],
        "requested_rewrite": {**RECORDS["akew"]["requested_rewrite"], "fact_new_uns": LONG},
    },
}
"""Records whose long answer is edited in pieces if the format is named."""

COLUMNS = {
    "prompt": "Question",
    "subject": "Person",
    "target_new": "Answer",
    "paraphrases": ["Again", "Once more"],
    "neighbours": "Other",
    "neighbour_answers": "Other answer",
    "consequences": "Then",
    "consequence_answers": "Then answer",
}
TABLE = (
    "Question,Person,Answer,Again,Once more,Other,Other answer,Then,Then answer\n"
    "Which language does Ada Moor speak?,Ada Moor,Drell,What is spoken by Ada Moor?,,"
    '"Who built the bridge,\nthe old one?",Cy Hart,Where is it spoken?,Velra\n'
)
"""A table of a user's own, with a line break in a value, and a line for one fact."""
