"""A record of each published data set, in its published shape, about invented facts."""

from collections.abc import Mapping
from typing import Any

OTHER = {"loc": "nq question: who built the old bridge", "loc_ans": "Cy Hart"}

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
}
