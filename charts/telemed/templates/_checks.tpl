{{/*
What values.schema.json cannot say, as it looks at one value at a time. Each refusal is one sentence that names the values.
*/}}

{{/* Refuse: dict "when" true "because" "…". */}}
{{- define "telemed.refuse" -}}
{{- if .when -}}
{{- fail (printf "\n\n%s\n" .because) -}}
{{- end -}}
{{- end -}}

{{- define "telemed.checks" -}}
{{- range $name, $component := include "telemed.components" . | fromJson -}}
{{- $part := dict "root" $ "part" $name "component" $component -}}
{{- include "telemed.checkComponent" $part -}}
{{- include "telemed.checkScaling" $part -}}
{{- include "telemed.checkRollout" $part -}}
{{- include "telemed.checkDrain" $part -}}
{{- include "telemed.checkSecrets" $part -}}
{{- include "telemed.checkEnvironment" $part -}}
{{- include "telemed.checkExtras" $part -}}
{{- end -}}
{{- include "telemed.checkNames" . -}}
{{- include "telemed.checkOwner" . -}}
{{- include "telemed.checkAgreement" . -}}
{{- include "telemed.checkRoutes" . -}}
{{- include "telemed.checkEntries" . -}}
{{- include "telemed.checkCertificate" . -}}
{{- include "telemed.checkTimeouts" . -}}
{{- include "telemed.checkDurations" . -}}
{{- include "telemed.checkPools" . -}}
{{- include "telemed.checkExternalSecrets" . -}}
{{- include "telemed.checkOwnersSecret" . -}}
{{- end -}}

{{- define "telemed.checkNames" -}}
{{- $none := include "telemed.components" . | fromJson | empty -}}
{{- include "telemed.refuse" (dict "when" $none "because" "components: all are disabled; there is nothing to install.") -}}
{{- $taken := list "default-deny" "ingress" "metrics" "migrate" "route" "secrets" "smoke" "test" "tls" -}}
{{- range $name := keys .Values.components | sortAlpha -}}
{{- include "telemed.refuse" (dict "when" (has $name $taken) "because" (printf
    "components.%s: the chart has another part of that name; take another name." $name)) -}}
{{- end -}}
{{- $own := include "telemed.ownLabels" (dict "root" . "part" "any") | fromYaml -}}
{{- range $label := concat (keys .Values.commonLabels) (keys .Values.defaults.podLabels) | sortAlpha -}}
{{- include "telemed.refuse" (dict "when" (hasKey $own $label) "because" (printf
    "The label %s is the chart's own: selectors hold it." $label)) -}}
{{- end -}}
{{- end -}}

{{- define "telemed.checkComponent" -}}
{{- $where := printf "components.%s" .part -}}
{{- $component := .component -}}
{{- include "telemed.refuse" (dict "when" (empty $component.args) "because" (printf
    "%s.args is empty: it says what the component is, such as [serve, booking] or [work]." $where)) -}}
{{- include "telemed.refuse" (dict "when" (and $component.routes (not $component.http)) "because" (printf
    "%s.routes names paths, but %s.http is false: nobody would answer them." $where $where)) -}}
{{- $own := include "telemed.ownLabels" . | fromYaml -}}
{{- range $label := keys $component.podLabels | sortAlpha -}}
{{- include "telemed.refuse" (dict "when" (hasKey $own $label) "because" (printf
    "%s.podLabels: the label %s is the chart's own: selectors hold it." $where $label)) -}}
{{- end -}}
{{- $hasAccount := or $component.serviceAccount.create $component.serviceAccount.name -}}
{{- include "telemed.refuse" (dict "when" (not $hasAccount) "because" (printf
    "%s.serviceAccount.name is empty and serviceAccount.create is false: name one that exists." $where)) -}}
{{- $common := .root.Values.defaults.serviceAccount -}}
{{- include "telemed.refuse" (dict "when" (and $common.create $common.name) "because"
    "defaults.serviceAccount has a name and create: every component would make the same one; name it in the component, or make it yourself.") -}}
{{- end -}}

{{- define "telemed.checkScaling" -}}
{{- $scaling := .component.autoscaling -}}
{{- $isWrong := and (ne $scaling.mode "none") (gt $scaling.minReplicas $scaling.maxReplicas) -}}
{{- include "telemed.refuse" (dict "when" $isWrong "because" (printf
    "components.%s.autoscaling.minReplicas (%v) is above maxReplicas (%v)."
    .part $scaling.minReplicas $scaling.maxReplicas)) -}}
{{- end -}}

{{- define "telemed.checkAgreement" -}}
{{- $said := dict -}}
{{- range $name, $component := include "telemed.components" . | fromJson -}}
{{- $settings := include "telemed.settings" (dict "root" $ "component" $component) | fromJson -}}
{{- range $setting := list "JWT_ALGORITHM" "JWT_ISSUER" "JWT_AUDIENCE" -}}
{{- $own := get $settings $setting -}}
{{- include "telemed.refuse" (dict "when" (ne $own (get $said $setting | default $own)) "because" (printf
    "components.%s.settings.%s differs from the other components': they would refuse each other's tokens; say it in `settings`." $name $setting)) -}}
{{- $_ := set $said $setting $own -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "telemed.checkRollout" -}}
{{- $rollout := .component.rollout -}}
{{- $startup := .component.probes.startup -}}
{{- $needed := add $rollout.minReadySeconds (mul $startup.periodSeconds $startup.failureThreshold) -}}
{{- include "telemed.refuse" (dict "when" (le ($rollout.progressDeadlineSeconds | int64) $needed) "because" (printf
    "components.%s.rollout.progressDeadlineSeconds (%v) is not above minReadySeconds and the time that probes.startup gives (%d): an update would count as failed while pods still start."
    .part $rollout.progressDeadlineSeconds $needed)) -}}
{{- end -}}

{{- define "telemed.checkDrain" -}}
{{- $needed := include "telemed.neededSeconds" . | int -}}
{{- $given := include "telemed.gracePeriodSeconds" . | int -}}
{{- include "telemed.refuse" (dict "when" (lt $given $needed) "because" (printf
    "components.%s.terminationGracePeriodSeconds (%d) is shorter than preStopSeconds + DRAIN_SECONDS + SHUTDOWN_GRACE_SECONDS + 5 (%d): pods would be killed while they finish requests."
    .part $given $needed)) -}}
{{- end -}}

{{- define "telemed.checkSecrets" -}}
{{- $values := .root.Values -}}
{{- range $name := include "telemed.secretNames" . | fromJsonArray -}}
{{- include "telemed.refuse" (dict "when" (not (hasKey $values.secrets $name)) "because" (printf
    "components.%s.secrets.%s is wanted, but secrets.%s does not say which Secret holds it." $.part $name $name)) -}}
{{- end -}}
{{- $answersLogins := or (has "/auth" .component.routes) (has "/" .component.routes) -}}
{{- $cannotSign := and $answersLogins (include "telemed.hasKeys" .) (not .component.signs) -}}
{{- include "telemed.refuse" (dict "when" $cannotSign "because" (printf
    "components.%s answers logins, but its `signs` is false: it would have no key to sign tokens with." .part)) -}}
{{- $needsPepper := and (include "telemed.hasKeys" .) (not (get .component.secrets "PEPPER")) -}}
{{- include "telemed.refuse" (dict "when" $needsPepper "because" (printf
    "components.%s.secrets.PEPPER is false, but the application needs it when settings.JWT_ALGORITHM is EdDSA." .part)) -}}
{{- end -}}

{{- define "telemed.checkEnvironment" -}}
{{- $environment := include "telemed.environment" . | fromYamlArray -}}
{{- $seen := dict -}}
{{- range $environment -}}
{{- include "telemed.refuse" (dict "when" (hasKey $seen .name) "because" (printf
    "components.%s.extraEnv.%s is set by the chart already: use `settings` or `secrets`." $.part .name)) -}}
{{- $_ := set $seen .name true -}}
{{- end -}}
{{- $settings := include "telemed.settings" . | fromJson -}}
{{- $all := list "*" "0.0.0.0/0" "::/0" -}}
{{- range $settings.TRUSTED_PROXIES -}}
{{- include "telemed.refuse" (dict "when" (has . $all) "because" (printf
    "settings.TRUSTED_PROXIES holds %s: then anybody could claim any address in X-Forwarded-For." .)) -}}
{{- end -}}
{{- end -}}

{{/* A server merges these lists by a key, and refuses one that has it twice, when the rest of the release is applied already. */}}
{{- define "telemed.checkExtras" -}}
{{- $where := printf "components.%s" .part -}}
{{- $pod := (include "telemed.podTemplate" . | fromYaml).spec -}}
{{- $containers := concat $pod.containers ($pod.initContainers | default list) -}}
{{- $mounts := (first $pod.containers).volumeMounts -}}
{{- include "telemed.checkDistinct" (dict "in" $containers "key" "name" "where" (printf "%s.extraContainers, extraInitContainers" $where)) -}}
{{- include "telemed.checkDistinct" (dict "in" $pod.volumes "key" "name" "where" (printf "%s.extraVolumes" $where)) -}}
{{- include "telemed.checkDistinct" (dict "in" $mounts "key" "mountPath" "where" (printf "%s.extraVolumeMounts" $where)) -}}
{{- $volumes := dict -}}
{{- range $pod.volumes -}}
{{- $_ := set $volumes .name true -}}
{{- end -}}
{{- range $mounts -}}
{{- include "telemed.refuse" (dict "when" (not (hasKey $volumes .name)) "because" (printf
    "%s.extraVolumeMounts: %s is mounted at %s, but extraVolumes has nothing of that name." $where .name .mountPath)) -}}
{{- end -}}
{{- end -}}

{{/* Refuse two entries with one value of a key: dict "in" [entries] "key" "name" "where" "components.auth.extraVolumes". */}}
{{- define "telemed.checkDistinct" -}}
{{- $seen := dict -}}
{{- range .in -}}
{{- $value := get . $.key -}}
{{- include "telemed.refuse" (dict "when" (hasKey $seen $value) "because" (printf
    "%s: the pod has something with the %s %s already." $.where $.key $value)) -}}
{{- $_ := set $seen $value true -}}
{{- end -}}
{{- end -}}

{{- define "telemed.checkOwner" -}}
{{- $isMissing := and (ne .Values.migration.mode "none") (not (hasKey .Values.secrets "OWNER_DATABASE_URL")) -}}
{{- include "telemed.refuse" (dict "when" $isMissing "because"
    "secrets.OWNER_DATABASE_URL does not say which Secret holds it, and the migration needs it: say it, or set migration.mode to none.") -}}
{{- end -}}

{{- define "telemed.checkRoutes" -}}
{{- $answering := dict -}}
{{- range $name, $component := include "telemed.components" . | fromJson -}}
{{- range $component.routes -}}
{{- $other := get $answering . -}}
{{- include "telemed.refuse" (dict "when" $other "because" (printf
    "components.%s.routes and components.%s.routes both hold %s: a path belongs to one component." $name $other .)) -}}
{{- $_ := set $answering . $name -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "telemed.checkEntries" -}}
{{- $route := .Values.route -}}
{{- $ingress := .Values.ingress -}}
{{- $nobody := and (or $route.enabled $ingress.enabled) (include "telemed.routes" . | fromJson | empty) -}}
{{- include "telemed.refuse" (dict "when" (and $route.enabled (empty $route.parentRefs)) "because"
    "route.enabled is true, but route.parentRefs names no Gateway.") -}}
{{- include "telemed.refuse" (dict "when" (and $route.enabled (empty $route.hostnames)) "because"
    "route.enabled is true, but route.hostnames is empty: name the hosts, or it would answer to every host of the Gateway.") -}}
{{- include "telemed.refuse" (dict "when" (and $ingress.enabled (empty $ingress.hosts)) "because"
    "ingress.enabled is true, but ingress.hosts is empty: name the hosts, or it would answer to every host of the controller.") -}}
{{- include "telemed.refuse" (dict "when" $nobody "because"
    "route.enabled or ingress.enabled is true, but no enabled component has routes.") -}}
{{- end -}}

{{- define "telemed.checkCertificate" -}}
{{- $certificate := .Values.certificate -}}
{{- $names := concat $certificate.dnsNames .Values.ingress.hosts -}}
{{- include "telemed.refuse" (dict "when" (and $certificate.enabled (empty $certificate.issuerRef.name)) "because"
    "certificate.enabled is true, but certificate.issuerRef.name is empty: name the Issuer or ClusterIssuer.") -}}
{{- include "telemed.refuse" (dict "when" (and $certificate.enabled (empty $names)) "because"
    "certificate.enabled is true, but neither certificate.dnsNames nor ingress.hosts names a host.") -}}
{{- end -}}

{{- define "telemed.checkTimeouts" -}}
{{- $route := .Values.route -}}
{{- include "telemed.refuse" (dict "when" (gt $route.backendRequestSeconds $route.requestSeconds) "because" (printf
    "route.backendRequestSeconds (%v) is above route.requestSeconds (%v)."
    $route.backendRequestSeconds $route.requestSeconds)) -}}
{{- range $name, $component := include "telemed.components" . | fromJson -}}
{{- $settings := include "telemed.settings" (dict "root" $ "component" $component) | fromJson -}}
{{- $tooEarly := and $route.enabled (le (float64 $route.backendRequestSeconds) (float64 $settings.REQUEST_DEADLINE_SECONDS)) -}}
{{- include "telemed.refuse" (dict "when" $tooEarly "because" (printf
    "route.backendRequestSeconds (%v) is not above REQUEST_DEADLINE_SECONDS of components.%s (%v): the gateway would give up before the answer that says what happened."
    $route.backendRequestSeconds $name $settings.REQUEST_DEADLINE_SECONDS)) -}}
{{- end -}}
{{- end -}}

{{/* Both are refused by operators, one of them in its log only. */}}
{{- define "telemed.checkDurations" -}}
{{- $monitoring := .Values.monitoring -}}
{{- $isLong := gt (include "telemed.seconds" $monitoring.scrapeTimeout | int) (include "telemed.seconds" $monitoring.interval | int) -}}
{{- include "telemed.refuse" (dict "when" (and (ne $monitoring.kind "none") $isLong) "because" (printf
    "monitoring.scrapeTimeout (%s) is above monitoring.interval (%s)." $monitoring.scrapeTimeout $monitoring.interval)) -}}
{{- $certificate := .Values.certificate -}}
{{- $isLate := ge (include "telemed.seconds" $certificate.renewBefore | int) (include "telemed.seconds" $certificate.duration | int) -}}
{{- include "telemed.refuse" (dict "when" (and $certificate.enabled $isLate) "because" (printf
    "certificate.renewBefore (%s) is not below certificate.duration (%s)." $certificate.renewBefore $certificate.duration)) -}}
{{- end -}}

{{/* A duration such as 1h30m in seconds: how much later a day is after it. */}}
{{- define "telemed.seconds" -}}
{{- $day := toDate "2006-01-02" "2000-01-01" -}}
{{- sub (dateModify . $day | unixEpoch) (unixEpoch $day) -}}
{{- end -}}

{{- define "telemed.checkPools" -}}
{{- $accepted := .Values.database.maxClientConnections | int -}}
{{- range $pooler, $opened := include "telemed.clientConnections" . | fromJson -}}
{{- include "telemed.refuse" (dict "when" (and $accepted (gt ($opened | int) $accepted)) "because" (printf
    "All processes can open %d connections to the %s pooler during an update, more than database.maxClientConnections (%d): take fewer replicas, a smaller settings.DATABASE_POOL_SIZE, or a pooler that accepts more."
    ($opened | int) $pooler $accepted)) -}}
{{- end -}}
{{- end -}}

{{- define "telemed.checkExternalSecrets" -}}
{{- $external := .Values.externalSecrets -}}
{{- include "telemed.refuse" (dict "when" (and $external.enabled (empty $external.storeRef.name)) "because"
    "externalSecrets.enabled is true, but externalSecrets.storeRef.name is empty: name the SecretStore or ClusterSecretStore.") -}}
{{- include "telemed.refuse" (dict "when" (and $external.enabled (empty $external.secrets)) "because"
    "externalSecrets.enabled is true, but externalSecrets.secrets is empty: nothing would be made.") -}}
{{- $owner := dig "OWNER_DATABASE_URL" "name" "" .Values.secrets -}}
{{- $tooLate := and $external.enabled (eq .Values.migration.mode "hook") (hasKey $external.secrets $owner) -}}
{{- include "telemed.refuse" (dict "when" $tooLate "because" (printf
    "externalSecrets.secrets.%s comes with the release, but migration.mode hook needs it before: set migration.mode to job, or make the ExternalSecret outside of this release." $owner)) -}}
{{- end -}}

{{/*
The owner's Secret must be there before the hook is: said now, not in five minutes by a pod. Only Helm that installs can look;
`default` has an account in every namespace, so where there is none, nobody looked.
*/}}
{{- define "telemed.checkOwnersSecret" -}}
{{- $looks := and (eq .Values.migration.mode "hook") .Values.migration.checkSecret -}}
{{- $owner := .Values.secrets.OWNER_DATABASE_URL -}}
{{- if $looks -}}
{{- $cluster := lookup "v1" "ServiceAccount" .Release.Namespace "default" -}}
{{- $secret := lookup "v1" "Secret" .Release.Namespace $owner.name -}}
{{- $hasKey := hasKey ($secret.data | default dict) $owner.key -}}
{{- include "telemed.refuse" (dict "when" (and $cluster (not $hasKey)) "because" (printf
    "The Secret %s with the key %s does not exist in the namespace %s: the migration before the release needs it (see the chart's README, \"Secrets\")."
    $owner.name $owner.key .Release.Namespace)) -}}
{{- end -}}
{{- end -}}
