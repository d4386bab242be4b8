"""How many numbers a parameter stands for, however it is stored."""

from torch.nn import Parameter


def num_elements(parameter: Parameter) -> int:
    """All of a weight that DeepSpeed has partitioned; two a byte of one that bitsandbytes holds in 4 bits."""
    stored = int(getattr(parameter, "ds_numel", parameter.numel()))
    # Its class says so: bitsandbytes need not be installed.
    return 2 * parameter.element_size() * stored if type(parameter).__name__ == "Params4bit" else stored
