"""What is made once for a whole cluster: quotas, limits, admission policies, external secrets, GitOps."""

from collections.abc import Iterator

from tests.charts.invariants.files import quantity
from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.objects import Finding, Rendering, dig, items


@invariant("A policy that only warns, or that a broken expression switches off, holds nobody.")
def admission_is_enforced(rendering: Rendering) -> Iterator[Finding]:
    for policy in rendering.of("ValidatingAdmissionPolicy"):
        if dig(policy, "spec.failurePolicy", "Fail") != "Fail":
            yield (policy, "spec.failurePolicy", "must be Fail")
        if not items(policy, "spec.validations"):
            yield (policy, "spec.validations", "must be there")
        for number, rule in enumerate(items(policy, "spec.validations")):
            if not rule.get("expression") or not (rule.get("message") or rule.get("messageExpression")):
                yield (policy, f"spec.validations[{number}]", "needs an expression and a message")
    for binding in rendering.of("ValidatingAdmissionPolicyBinding"):
        if "Deny" not in items(binding, "spec.validationActions"):
            yield (binding, "spec.validationActions", "must deny")


@invariant("A policy without a binding is never asked; a binding without its policy asks nobody.")
def admission_is_bound(rendering: Rendering) -> Iterator[Finding]:
    policies = {policy["metadata"]["name"] for policy in rendering.of("ValidatingAdmissionPolicy")}
    bindings = rendering.of("ValidatingAdmissionPolicyBinding")
    bound = {dig(binding, "spec.policyName") for binding in bindings}
    for policy in rendering.of("ValidatingAdmissionPolicy"):
        if policy["metadata"]["name"] not in bound:
            yield (policy, "metadata.name", "has no binding")
    for binding in bindings:
        if dig(binding, "spec.policyName") not in policies:
            yield (binding, "spec.policyName", "is no policy")


@invariant("A namespace without a quota lets one mistake take the whole cluster.")
def quotas_are_meant(rendering: Rendering) -> Iterator[Finding]:
    for quota in rendering.of("ResourceQuota"):
        hard = dig(quota, "spec.hard", {})
        if not hard or any(quantity(value) < 0 for value in hard.values()):
            yield (quota, "spec.hard", "must have bounds")
        for forbidden in ("services.nodeports", "services.loadbalancers"):
            if quantity(hard.get(forbidden, 0)) > 0:
                yield (quota, f"spec.hard.{forbidden}", "must be 0: the gateway is the only way in")


@invariant("A default that is above the maximum refuses every pod.")
def limits_are_in_order(rendering: Rendering) -> Iterator[Finding]:
    for thing in rendering.of("LimitRange"):
        for number, limit in enumerate(items(thing, "spec.limits")):
            for resource, most in dig(limit, "max", {}).items():
                for field in ("default", "defaultRequest", "min"):
                    if resource in dig(limit, field, {}) and quantity(limit[field][resource]) > quantity(most):
                        yield (thing, f"spec.limits[{number}].{field}.{resource}", f"is above {most}")
            if dig(limit, "default.cpu") is not None:
                yield (thing, f"spec.limits[{number}].default.cpu", "would limit CPU")


@invariant("A secret that is fetched is renewed, from a store that is named, into one that is not left behind unseen.")
def external_secrets_are_complete(rendering: Rendering) -> Iterator[Finding]:
    for thing in rendering.of("ExternalSecret"):
        if not dig(thing, "spec.secretStoreRef.name"):
            yield (thing, "spec.secretStoreRef.name", "is missing")
        if not items(thing, "spec.data") and not items(thing, "spec.dataFrom"):
            yield (thing, "spec.data", "must name what is fetched")
        interval = str(dig(thing, "spec.refreshInterval", "1h"))
        if dig(thing, "spec.refreshPolicy", "Periodic") == "Periodic" and interval in ("0", "0s"):
            yield (thing, "spec.refreshInterval", "must be above 0, or a rotated secret never arrives")
        for number, entry in enumerate(items(thing, "spec.data")):
            if not entry.get("secretKey") or not dig(entry, "remoteRef.key"):
                yield (thing, f"spec.data[{number}]", "needs secretKey and remoteRef.key")
