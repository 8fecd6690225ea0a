{{/* What belongs to the database, and cannot be said in a line. */}}

{{/*
Refuse values that contradict each other. A rollout of a pooler adds one pod, and every pod may use max_db_connections
of one server: of the primary (rw), or, while only one replica is left, of that (ro).
*/}}
{{- define "telemed-data.check" -}}
{{- $room := sub .Values.postgres.maxConnections .Values.postgres.reservedConnections -}}
{{- range $type := include "telemed-data.poolers" . | fromJsonArray -}}
{{- $pooler := index $.Values.poolers $type -}}
{{- $each := (merge dict $pooler.parameters $.Values.poolers.parameters).max_db_connections | int -}}
{{- $wanted := mul (add $pooler.instances 1) $each -}}
{{- $message := printf "poolers.%s: %d pods (one more while rolling out) with %d connections each are %d, but postgres.maxConnections (%d) minus reservedConnections (%d) leaves %d" $type (int $pooler.instances) $each $wanted (int $.Values.postgres.maxConnections) (int $.Values.postgres.reservedConnections) $room -}}
{{- include "telemed-data.failIf" (list (gt $wanted $room) $message) -}}
{{- end -}}
{{- $together := include "telemed-data.connections" . | int -}}
{{- include "telemed-data.failIf" (list (gt $together (int $room)) (printf "poolers: a replica that is promoted has the readers' connections and gets the writers', %d together, but postgres.maxConnections (%d) minus reservedConnections (%d) leaves %d" $together (int .Values.postgres.maxConnections) (int .Values.postgres.reservedConnections) $room)) -}}
{{- $synchronous := .Values.postgres.synchronous -}}
{{- include "telemed-data.failIf" (list (and $synchronous.enabled (ge (int $synchronous.number) (int .Values.postgres.instances))) (printf "postgres.synchronous.number (%d) replicas cannot confirm where there are %d instances, the primary among them: writes would wait for ever" (int $synchronous.number) (int .Values.postgres.instances))) -}}
{{- include "telemed-data.failIf" (list (and $synchronous.enabled $synchronous.failoverQuorum (lt (int .Values.postgres.instances) 3)) "postgres.synchronous.failoverQuorum needs postgres.instances of 3 or more") -}}
{{- include "telemed-data.failIf" (list (and .Values.restore.enabled (eq .Values.restore.serverName (include "telemed-data.serverName" .))) "restore.serverName and backup.serverName must differ: the restored database would write over its source's archive") -}}
{{- end -}}

{{- define "telemed-data.failIf" -}}
{{- if index . 0 -}}
{{- fail (index . 1) -}}
{{- end -}}
{{- end -}}

{{/* Folder of this database in the object store. */}}
{{- define "telemed-data.serverName" -}}
{{- default (include "telemed-data.fullname" .) .Values.backup.serverName -}}
{{- end -}}

{{/*
How the database comes to be: empty, or from a backup. The groups carry the grants that migrations give. The operator
knows memberships but no ADMIN OPTION, so they are made here, once, and listed under the owner's inRoles below: what
is not listed there, the operator takes away again.
*/}}
{{- define "telemed-data.bootstrap" -}}
{{- if .Values.restore.enabled -}}
recovery:
  source: source
  database: {{ .Values.postgres.database }}
  owner: telemed_owner
  secret:
    name: {{ .Values.roles.owner.secret }}
  recoveryTarget:
    {{- include "telemed-data.recoveryTarget" . | nindent 4 }}
{{- else -}}
initdb:
  database: {{ .Values.postgres.database }}
  owner: telemed_owner
  secret:
    name: {{ .Values.roles.owner.secret }}
  encoding: UTF8
  # As everywhere in Telemed: sorted by code point, on every machine and after every upgrade of the system alike.
  localeCollate: C.UTF-8
  localeCType: C.UTF-8
  dataChecksums: true
  postInitSQL:
    - CREATE ROLE telemed_services NOLOGIN
    - CREATE ROLE telemed_auditor NOLOGIN
    - CREATE ROLE telemed_worker NOLOGIN
    - GRANT telemed_services, telemed_auditor, telemed_worker TO telemed_owner WITH ADMIN OPTION
{{- end -}}
{{- end -}}

{{- define "telemed-data.recoveryTarget" -}}
{{- if .Values.restore.targetTime -}}
targetTime: {{ .Values.restore.targetTime | quote }}
{{- else -}}
targetTLI: latest
{{- end -}}
{{- end -}}

{{/* Who may log in; the operator keeps their passwords as the Secrets say. */}}
{{- define "telemed-data.roles" -}}
- name: telemed_owner
  comment: Owns the tables and runs the migrations
  login: true
  createrole: true
  inRoles: [telemed_services, telemed_auditor, telemed_worker]
  passwordSecret:
    name: {{ .Values.roles.owner.secret }}
- name: telemed_api
  comment: The services
  login: true
  inRoles: [telemed_services]
  passwordSecret:
    name: {{ .Values.roles.api.secret }}
- name: telemed_audit_api
  comment: The audit API
  login: true
  inRoles: [telemed_auditor]
  passwordSecret:
    name: {{ .Values.roles.auditApi.secret }}
- name: telemed_jobs
  comment: The worker
  login: true
  inRoles: [telemed_worker]
  passwordSecret:
    name: {{ .Values.roles.jobs.secret }}
{{- if .Values.roles.monitor.enabled }}
- name: telemed_monitor
  comment: Reads statistics
  login: true
  inRoles: [pg_monitor]
  passwordSecret:
    name: {{ .Values.roles.monitor.secret }}
{{- end }}
{{- end -}}

{{/* Whether commits wait for replicas. */}}
{{- define "telemed-data.synchronous" -}}
{{- if .Values.postgres.synchronous.enabled -}}
synchronous:
  {{- omit .Values.postgres.synchronous "enabled" | toYaml | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* The archive of this database, and of the one that it is restored from. */}}
{{- define "telemed-data.plugins" -}}
{{- if .Values.backup.enabled -}}
plugins:
  - name: barman-cloud.cloudnative-pg.io
    enabled: true
    isWALArchiver: true
    parameters:
      barmanObjectName: {{ include "telemed-data.fullname" . }}
      serverName: {{ include "telemed-data.serverName" . }}
{{- end -}}
{{- end -}}

{{- define "telemed-data.source" -}}
{{- if .Values.restore.enabled -}}
externalClusters:
  - name: source
    plugin:
      name: barman-cloud.cloudnative-pg.io
      parameters:
        barmanObjectName: {{ include "telemed-data.fullname" . }}
        serverName: {{ required "restore.serverName names the folder of the source in the object store" .Values.restore.serverName }}
{{- end -}}
{{- end -}}

{{- define "telemed-data.walStorage" -}}
{{- if .Values.postgres.walStorage.enabled -}}
walStorage:
  {{- $class := ternary dict (dict "storageClass" .Values.postgres.walStorage.storageClass) (empty .Values.postgres.walStorage.storageClass) }}
  {{- merge (dict "size" .Values.postgres.walStorage.size) $class | toYaml | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* The poolers that are wanted, as a list of "rw", "ro"; without replicas there is no ro. */}}
{{- define "telemed-data.poolers" -}}
{{- $wanted := list -}}
{{- range $type := list "rw" "ro" -}}
{{- $hasServers := or (eq $type "rw") (gt (int $.Values.postgres.instances) 1) -}}
{{- $isWanted := and $.Values.postgres.enabled $hasServers (index $.Values.poolers $type).enabled -}}
{{- $wanted = ternary (append $wanted $type) $wanted $isWanted -}}
{{- end -}}
{{- toJson $wanted -}}
{{- end -}}

{{/* Credentials that somebody names win over those that the defaults suppose. */}}
{{- define "telemed-data.objectStore" -}}
{{- $store := deepCopy .Values.backup.objectStore -}}
{{- $s3 := default dict $store.s3Credentials -}}
{{- $s3 = ternary (omit $s3 "inheritFromIAMRole") $s3 (hasKey $s3 "accessKeyId") -}}
{{- $isOther := or (hasKey $store "azureCredentials") (hasKey $store "googleCredentials") -}}
{{- ternary (omit $store "s3Credentials") (set $store "s3Credentials" $s3) $isOther | toYaml -}}
{{- end -}}

{{/* What both poolers may use of one server: pods and one more, times the least of their bound and their roles' pools. */}}
{{- define "telemed-data.connections" -}}
{{- $sum := 0 -}}
{{- range $type := include "telemed-data.poolers" . | fromJsonArray -}}
{{- $pooler := index $.Values.poolers $type -}}
{{- $set := merge dict $pooler.parameters $.Values.poolers.parameters -}}
{{- $logins := ternary 3 1 (eq $type "rw") -}}
{{- $pools := mul $logins (add (int $set.default_pool_size) (int $set.reserve_pool_size)) -}}
{{- $sum = add $sum (mul (add $pooler.instances 1) (min $pools (int $set.max_db_connections))) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}
