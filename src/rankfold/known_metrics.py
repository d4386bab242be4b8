"""Metrics by their keys in metrics.json: how each is called, written and compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """How a metric is shown.

    Attributes:
        better: Which way is up, or that there is none.
        main: Whether it stands in the score table, or below it among the other ways to count.
    """

    title: str
    decimals: int = 4
    better: Literal["higher", "lower", "neither"] = "higher"
    main: bool = True


METRICS: Mapping[str, Metric] = {
    # Entities: 0..1.
    "entity_f1": Metric("Entity F1", 3),
    "entity_precision": Metric("Precision", 3),
    "entity_recall": Metric("Recall", 3),
    "entity_macro_f1": Metric("Macro F1", 3),
    "entity_macro_precision": Metric("Macro precision", 3),
    "entity_macro_recall": Metric("Macro recall", 3),
    "entity_f1_aligned_only": Metric("F1 without unaligned", 3),
    "unaligned_rate": Metric("Unaligned rate", 3, "lower"),
    "parse_failure_rate": Metric("Parse failure rate", 3, "lower"),
    "num_gold": Metric("Gold entities", 0, "neither"),
    "num_predicted": Metric("Predicted entities", 0, "neither"),
    "num_correct": Metric("Correct entities", 0),
    # Answers: 0..100, as SQuAD has them.
    "exact_match": Metric("Exact match", 2),
    "f1": Metric("F1", 2),
    "cmrc_exact_match": Metric("CMRC exact match", 2),
    "cmrc_f1": Metric("CMRC F1", 2),
    "HasAns_exact": Metric("Exact match, answerable", 2),
    "HasAns_f1": Metric("F1, answerable", 2),
    "NoAns_exact": Metric("Exact match, unanswerable", 2),
    "NoAns_f1": Metric("F1, unanswerable", 2),
    "total": Metric("Questions", 0, "neither"),
    "HasAns_total": Metric("Questions, answerable", 0, "neither"),
    "NoAns_total": Metric("Questions, unanswerable", 0, "neither"),
    "best_exact": Metric("Best exact match", 2, main=False),
    "best_exact_thresh": Metric("… at threshold", 4, "neither", main=False),
    "best_f1": Metric("Best F1", 2, main=False),
    "best_f1_thresh": Metric("… at threshold", 4, "neither", main=False),
    # Labels: 0..1.
    "accuracy": Metric("Accuracy", 3),
    "chance_accuracy": Metric("Accuracy of chance", 3, "neither"),
    "micro_f1": Metric("Micro F1", 3),
    "macro_f1": Metric("Macro F1", 3),
    "weighted_f1": Metric("Weighted F1", 3),
    "matthews_correlation": Metric("Matthews correlation", 3),
    "subset_accuracy": Metric("All labels right", 3),
    "unknown_label_rate": Metric("Gold label unknown to the model", 3, "lower"),
    # Probabilities of text; loss is in nats a token.
    "perplexity": Metric("Perplexity", 2, "lower"),
    "loss": Metric("Loss a token", 4, "lower"),
    "bits_per_byte": Metric("Bits a byte", 4, "lower"),
    "token_accuracy": Metric("Token accuracy", 3),
    "num_tokens": Metric("Tokens scored", 0, "neither"),
    # Written text: 0..100.
    "bleu": Metric("BLEU", 2),
    "chrf": Metric("chrF", 2),
    "rouge1": Metric("ROUGE-1", 2),
    "rouge2": Metric("ROUGE-2", 2),
    "rougeL": Metric("ROUGE-L", 2),
    "exact_match_rate": Metric("Same text", 3),
    "mean_num_tokens": Metric("Tokens generated, mean", 1, "neither"),
    "finished_rate": Metric("Ended by itself", 3),
    # Embeddings: 0..1, correlations -1..1.
    "recall_at_1": Metric("Recall at 1", 3),
    "recall_at_5": Metric("Recall at 5", 3),
    "recall_at_10": Metric("Recall at 10", 3),
    "mrr_at_10": Metric("MRR at 10", 3),
    "ndcg_at_10": Metric("nDCG at 10", 3),
    "spearman_cosine": Metric("Spearman, cosine", 3),
    "pearson_cosine": Metric("Pearson, cosine", 3),
    "num_queries": Metric("Queries", 0, "neither"),
    "num_documents": Metric("Documents to find", 0, "neither"),
    "num_examples": Metric("Examples", 0, "neither"),
}
"""In the order of the score table."""


def metric_of(key: str, own: Mapping[str, Metric] | None = None) -> Metric:
    """How a metric is shown: as its task says in `own`, as here, or by its key where nobody knows it."""
    return (own or {}).get(key) or METRICS.get(key) or Metric(key.replace("_", " "))
