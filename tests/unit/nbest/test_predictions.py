import subprocess
import sys

import numpy as np
import pytest

from rankfold.data.examples import QuestionExample
from rankfold.nbest.candidates import CANDIDATE
from rankfold.nbest.finalise import Answers
from rankfold.nbest.predictions import Predictions, predictions

CHOSEN = Answers(
    nbest=np.array([(0, 0, 3, 2, 1, 3), (1, -1, -1, 0, 0, 0), (1, 0, 2, -1, 0, -1)], CANDIDATE),
    probabilities=np.array([1.0, 0.75, 0.25]),
    row_starts=np.array([0, 1, 3, 3]),
    chosen=np.array([0, 1, -1]),
    null_scores=np.array([1.0, 0.0, np.nan]),
    null_score_differences=np.array([-2.0, 1.0, np.nan]),
)


def test_every_example_has_its_answer_and_none_where_there_is_none() -> None:
    questions = [QuestionExample(context, "?", context, ()) for context in ("Ulm", "Rom", "Bad")]
    assert predictions(CHOSEN, questions) == Predictions(
        texts=["Ulm", "", ""],
        starts=[0, None, None],
        ends=[3, None, None],
        probabilities=[1.0, 0.75, 0.0],
        null_score_differences=[-2.0, 1.0, None],
    )


def test_examples_that_were_not_ranked_are_refused() -> None:
    with pytest.raises(ValueError, match="0 examples, but 3 were ranked"):
        predictions(CHOSEN, [])


def test_writing_answers_does_not_import_pandas() -> None:
    # pyarrow does where it is given Python objects, and that takes a second.
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys\n"
            "import numpy as np\n"
            "from rankfold.data.examples import QuestionExample\n"
            "from rankfold.nbest.candidates import NOWHERE, Ranking, CANDIDATE\n"
            "from rankfold.nbest.finalise import finalise\n"
            "from rankfold.nbest.lines import nbest_lines\n"
            "ranking = Ranking(20, np.zeros(1, CANDIDATE), np.array([0, 1]), np.full(1, NOWHERE))\n"
            "answers = finalise(ranking, version_2_with_negative=False)\n"
            "nbest_lines(answers, [QuestionExample('q', '?', 'Ulm', ())])\n"
            "sys.exit('pandas' in sys.modules)\n",
        ],
        check=True,
    )
