"""What a release leaves out on purpose, and says so on the workload: everything else that is missing was lost."""

from tests.charts.invariants.application import is_production
from tests.charts.invariants.objects import Object, Pod, Rendering, annotations_of, labels_of

# An annotation of the workload (templates/_leftout.tpl of both charts); its words are those below, with commas.
ANNOTATION = "telemed.local/left-out"
NETWORK_POLICY = "network-policy"
BUDGET = "disruption-budget"
BACKUP = "backup"
QUORUM = "quorum"
DRAIN = "drain"
VARIABLES = "variables"  # rather more: others than the application reads
EDGES = "edges"  # rather more: it talks to others than the rest does
NODE_SPREAD = "node-spread"
ZONE_SPREAD = "zone-spread"
SECOND_REPLICA = "second-replica"


def left_out(rendering: Rendering, pod: Pod) -> set[str]:
    """Give the words of what the pod does without. A Job or test does without what its release does without."""
    if pod.is_lasting:
        return said(pod.owner)
    release = labels_of(pod.owner).get("app.kubernetes.io/instance")
    others = [
        one.owner for one in rendering.lasting if labels_of(one.owner).get("app.kubernetes.io/instance") == release
    ]
    return set().union(*(said(owner) for owner in others))


def said(owner: Object) -> set[str]:
    """Give the words that stand on an object."""
    return {word.strip() for word in annotations_of(owner).get(ANNOTATION, "").split(",") if word.strip()}


def must_have(rendering: Rendering, pod: Pod, protection: str) -> bool:
    """Tell whether a pod must have a protection: in production, unless it says that it does without."""
    return is_production(rendering) and protection not in left_out(rendering, pod)
