"""Which of the learning tests run with the others."""

import os

from learning import TABLE_FOLDER

# They take two and three minutes, for the table only: that questions are answered and entities written is
# tested in test_real_data.py too.
collect_ignore = [] if os.environ.get(TABLE_FOLDER) else ["test_extractive_qa.py", "test_generative_ner.py"]
