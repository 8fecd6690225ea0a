"""What may be changed in a rendering without any invariant noticing, and why: by kind, path and way of the change.

Patterns of `Kind path way`. A reason says why nothing is lost, or what else would notice.
"""
# ruff: noqa: E501 - a pattern and its reason are read on one line

_POD = r"(Deployment|Job|Pod) (spec\.template\.)?spec\."
_CONTAINER = rf"{_POD}containers\[\]\."

HARMLESS: dict[str, str] = {
    # What is assumed when nothing is said is the same.
    r"NetworkPolicy .*\.protocol taken away": "TCP is assumed.",
    r"NetworkPolicy spec\.podSelector\.matchLabels taken away": "The denial is then about the whole namespace.",
    r"NetworkPolicy spec\.ingress taken away": "No rule is none.",
    r"Service spec\.(type|ports\[\]\.(targetPort|protocol|appProtocol)) taken away": "The defaults are the same.",
    r"Deployment spec\.progressDeadlineSeconds taken away": "Ten minutes are assumed.",
    r"Deployment .*Probe\.(periodSeconds|failureThreshold) taken away": "10 s and 3 are assumed, within the bounds.",
    rf"{_CONTAINER}securityContext\.privileged taken away": "False is assumed.",
    r"HorizontalPodAutoscaler .*selectPolicy taken away": "Max is assumed.",
    r"HorizontalPodAutoscaler spec\.scaleTargetRef\.kind taken away": "The schema requires it.",
    r"Cluster spec\.(enable\w+|affinity\.\w+|seccompProfile(\.type)?|stopDelay) taken away": "The operator assumes the same.",
    r"Cluster spec\.(postgresql\.synchronous\.dataDurability|plugins\[\]\.enabled) taken away": "The operator assumes it.",
    # Other sizes, within bounds that are looked at; whether they are enough is asked by decision 0019.
    rf"{_CONTAINER}resources\.requests\.cpu (halved|doubled)": "Sizes are compared with needs elsewhere.",
    rf"{_POD}volumes\[\]\.emptyDir\.sizeLimit (halved|doubled)": "Still bounded.",
    rf"{_POD}(containers\[\]\.)?securityContext\.(fsGroup|runAs(User|Group)) (halved|doubled)": "Another number is not root.",
    r"Deployment spec\.(minReadySeconds|progressDeadlineSeconds|strategy\.\S+) (halved|doubled)": "Within the bounds.",
    r"Deployment spec\.template\.spec\.terminationGracePeriodSeconds doubled": "More time than needed.",
    r"Deployment .*Probe\.(period|timeout)Seconds (halved|doubled)": "Within the bounds.",
    r"Deployment .*Probe\.failureThreshold (halved|doubled)": "Within the bounds.",
    r"Deployment spec\.replicas doubled": "More than needed; the poolers' limits are looked at.",
    r"HorizontalPodAutoscaler spec\.(minReplicas doubled|maxReplicas (halved|doubled))": "The poolers' limits are looked at.",
    r"HorizontalPodAutoscaler .*\.averageUtilization halved": "Grows earlier.",
    r"HorizontalPodAutoscaler .*\.(policies\[\]\.\w+|stabilizationWindowSeconds) (halved|doubled)": "Within the bounds.",
    r"HorizontalPodAutoscaler .*\.policies\[\] taken away": "The other one is still a pace.",
    r"(Job|Pod) spec\.(activeDeadlineSeconds|backoffLimit) (zeroed|halved|doubled)": "It still ends.",
    r"Cluster spec\.(instances doubled|resources\.requests\.cpu \w+)": "More servers; sizes are compared elsewhere.",
    r"Cluster spec\.(switchoverDelay|stopDelay|smartShutdownTimeout) \w+": "Within the bounds.",
    r"ObjectStore spec\.retentionPolicy (halved|doubled)": "Within the bounds.",
    r"Pooler spec\.(deploymentStrategy\.rollingUpdate\.maxSurge|pgbouncer\.parameters\.\w+) (halved|doubled)": "Within the bounds.",
    # Preferences.
    rf"{_POD}securityContext\.fsGroupChangePolicy (taken away|replaced)": "How fast a volume is handed over.",
    r"Deployment .*\.nodeTaintsPolicy (taken away|replaced)": "How nodes are counted that nobody may use.",
    r"Job metadata\.annotations\['helm\.sh/hook-(output-log-policy|weight)'\] (taken away|replaced)": "Zero comes last too.",
    r"Job .*\.(onPodConditions\[\]\.status|onExitCodes\.containerName) (taken away|replaced)": "The only ones there are.",
    r"Job spec\.template\.spec\.securityContext\.fsGroup taken away": "It mounts no file.",
    r"Cluster spec\.(managed\.roles\[\]\.comment|plugins\[\]\.parameters\.serverName) (taken away|replaced)": "Words.",
    r"Service spec\.ports\[\] taken away": "Of management, which only a ServiceMonitor would ask.",
    # Names of the place; only a cluster knows whether they are there.
    rf"{_POD}volumes\[\]\.secret\.(secretName|items\[\]\.(key|path)) replaced": "Which Secret, the place decides.",
    r"Cluster spec\.(managed\.roles\[\]\.passwordSecret\.name|plugins\[\]\.name) (taken away|replaced)": "The same; schema.",
    r"(ObjectStore .*\.encryption|ScheduledBackup spec\.pluginConfiguration\.name) replaced": "The schema knows the words.",
    r"NetworkPolicy spec\.egress\[\]\.to\[\]\.podSelector\.match(Labels|Expressions).* (taken away|replaced)": (
        "Labels of another namespace's pods: looked at where both charts are rendered together."
    ),
}
