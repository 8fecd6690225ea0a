"""What a release leaves out on purpose, and says so on the workload: everything else that is missing was lost."""

from tests.charts.invariants.application import is_production
from tests.charts.invariants.objects import Pod, Rendering, annotations_of

# An annotation of the workload; its words are those below, separated by commas.
ANNOTATION = "telemed.local/left-out"
NETWORK_POLICY = "network-policy"
BUDGET = "disruption-budget"
SPREAD = "spread"
SECOND_REPLICA = "second-replica"


def left_out(pod: Pod) -> set[str]:
    """Give the words of what the pod's owner does without."""
    return {word.strip() for word in annotations_of(pod.owner).get(ANNOTATION, "").split(",") if word.strip()}


def must_have(rendering: Rendering, pod: Pod, protection: str) -> bool:
    """Tell whether a pod must have a protection: in production, unless it says that it does without."""
    return is_production(rendering) and protection not in left_out(pod)
