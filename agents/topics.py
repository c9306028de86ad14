"""Topic names, what each is for, and how it must be created."""

from __future__ import annotations

from dataclasses import dataclass

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic: its name without the prefix and the settings that its meaning depends on."""

    name: str
    cleanup: str
    log_append_time: bool = False
    retention_ms: int | None = None

    def settings(self) -> dict[str, str]:
        """Kafka's topic settings."""
        out = {"cleanup.policy": self.cleanup}
        if self.log_append_time:
            out["message.timestamp.type"] = "LogAppendTime"
        if self.retention_ms is not None:
            out["retention.ms"] = str(self.retention_ms)
        return out


INTERACTIONS = TopicSpec("interactions.v1", "delete", log_append_time=True)
RESPONSES = TopicSpec("responses.v1", "delete", log_append_time=True)
PARTIALS = TopicSpec("partials.v1", "delete")
SCORES = TopicSpec("scores.v1", "compact")
WINDOWS = TopicSpec("windows.v1", "compact,delete", retention_ms=400 * DAY_MS)
INTERACTION_STATS = TopicSpec("interaction-stats.v1", "compact")
ALERTS = TopicSpec("alerts.v1", "compact")
OPERATIONS = TopicSpec("operations.v1", "compact")
COMMENTS = TopicSpec("comments.v1", "delete", retention_ms=30 * DAY_MS)
DEAD_LETTERS = TopicSpec("dead-letters.v1", "delete", retention_ms=7 * DAY_MS)

PUBLIC = (
    INTERACTIONS,
    RESPONSES,
    PARTIALS,
    SCORES,
    WINDOWS,
    INTERACTION_STATS,
    ALERTS,
    OPERATIONS,
    COMMENTS,
    DEAD_LETTERS,
)


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of one deployment's topics; changelogs carry the group, since state belongs to it."""

    prefix: str = "effort."
    group: str = "effortstream"

    def __call__(self, spec: TopicSpec) -> str:
        """The full name of a topic."""
        return f"{self.prefix}{spec.name}"

    def changelog(self, stage: str) -> TopicSpec:
        """The changelog of a stage: ``responses``, ``interactions`` or ``scores``."""
        return TopicSpec(f"{self.group}-{stage}-changelog", "compact")
