"""One pod: its process, its volumes, and what was seen of it."""

import asyncio
import re
from asyncio import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.pods.rendered import PodTemplate


@dataclass(eq=False)
class Pod:
    """One pod. `is_ready` is what its endpoint follows."""

    name: str
    template: PodTemplate
    ip: str
    folder: Path
    process: subprocess.Process | None = None
    is_started: bool = False
    is_ready: bool = False
    ready_since: float | None = None
    is_deleted: bool = False
    restarts: int = 0
    probes_seen: dict[str, int] = field(default_factory=dict)  # answered or not, by kind
    restarted_because: list[str] = field(default_factory=list)
    exit_codes: list[int] = field(default_factory=list)
    was_killed: bool = False  # by SIGKILL, at the end of its grace
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def log(self) -> str:
        """Give what its process has written, of all its restarts."""
        return (self.folder / "log").read_text()

    @property
    def tmp(self) -> Path:
        """Give what is its /tmp."""
        return self.folder / "tmp"

    @property
    def writable(self) -> list[Path]:
        """Give where its emptyDirs are."""
        return [self.folder / path.lstrip("/") for path in self.template.writable()]

    def placed(self, text: str) -> str:
        """Give a value, argument or file of variables with the paths at which its volumes really are."""
        mounts = "|".join(re.escape(mount["mountPath"]) for mount in self.template.container.get("volumeMounts", ()))
        return re.sub(rf"(^|=)({mounts})(?=/|$)", rf"\1{self.folder}\2", text, flags=re.MULTILINE) if mounts else text

    @property
    def url(self) -> str:
        """Give where it serves."""
        return f"http://{self.ip}:{self.template.port('http')}"

    def last_words(self) -> str:
        """Give the last line that is no structured log."""
        said = [line for line in self.log.splitlines() if not line.startswith("{")]
        return said[-1] if said else ""
