{{/*
Components: what values say of them, merged.
*/}}

{{/* The enabled components, each merged over the defaults, as JSON by name. */}}
{{- define "telemed.components" -}}
{{- $components := dict -}}
{{- range $name, $own := .Values.components -}}
{{- $component := mergeOverwrite (deepCopy $.Values.defaults) (deepCopy $own) -}}
{{- if $component.enabled -}}
{{- $_ := set $components $name $component -}}
{{- end -}}
{{- end -}}
{{- toJson $components -}}
{{- end -}}

{{/* What migration and test pods are made of: the defaults, and what `.own` says again: dict "root" $ "own" .Values.migration. */}}
{{- define "telemed.job" -}}
{{- mergeOverwrite (deepCopy .root.Values.defaults) (deepCopy .own) | toJson -}}
{{- end -}}

{{/* A component's settings: its own over everybody's: dict "root" $ "component" …. */}}
{{- define "telemed.settings" -}}
{{- merge (deepCopy .component.settings) .root.Values.settings | toJson -}}
{{- end -}}

{{/* Prefixes of paths and the component that answers each, as JSON. */}}
{{- define "telemed.routes" -}}
{{- $byRoute := dict -}}
{{- range $name, $component := include "telemed.components" . | fromJson -}}
{{- range $component.http | ternary $component.routes list -}}
{{- $_ := set $byRoute . $name -}}
{{- end -}}
{{- end -}}
{{- toJson $byRoute -}}
{{- end -}}

{{/* The name of the component that answers a path, or nothing: dict "root" $ "path" "/auth". */}}
{{- define "telemed.answers" -}}
{{- $byRoute := include "telemed.routes" .root | fromJson -}}
{{- get $byRoute .path | default (get $byRoute "/") -}}
{{- end -}}

{{/*
A component's image: dict "root" $ "component" …. The digest wins over the tag, but what a component says over what is said for
all: a tag of its own is not undone by everybody's digest.
*/}}
{{- define "telemed.image" -}}
{{- $own := .component.image -}}
{{- $image := merge (deepCopy $own) .root.Values.image -}}
{{- $version := printf ":%s" ($image.tag | default .root.Chart.AppVersion) -}}
{{- $digest := (and (not (empty $own.tag)) (empty $own.digest)) | ternary "" $image.digest -}}
{{- printf "%s%s" $image.repository (empty $digest | ternary $version (printf "@%s" $digest)) -}}
{{- end -}}

{{/* When it is fetched, the same. */}}
{{- define "telemed.pullPolicy" -}}
{{- .component.image.pullPolicy | default .root.Values.image.pullPolicy -}}
{{- end -}}
