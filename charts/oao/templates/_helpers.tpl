{{- define "oao.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Cluster-wide names hold the namespace: a second release must not collide. */}}
{{- define "oao.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "oao.fullname" .) -}}
{{- end -}}

{{/* (dict "root" $ "component" "operator") */}}
{{- define "oao.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "oao.labels" -}}
{{ include "oao.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{/* (dict "root" $ "image" .Values.image) */}}
{{- define "oao.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "oao.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "oao.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name: name the account, or set serviceAccount.create=true" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "oao.keysSecret" -}}
{{- default (printf "%s-keys" (include "oao.fullname" .)) .Values.storeKey.existingSecret -}}
{{- end -}}

{{/* Where the embedded Redis has its password: never in a Secret that somebody else made for the key alone. */}}
{{- define "oao.generatedSecret" -}}
{{- printf "%s-keys" (include "oao.fullname" .) -}}
{{- end -}}

{{- define "oao.generatesSecret" -}}
{{- if or .Values.redis.embedded.enabled (not .Values.storeKey.existingSecret) -}}true{{- end -}}
{{- end -}}

{{- define "oao.redisName" -}}
{{- printf "%s-redis" (include "oao.fullname" .) -}}
{{- end -}}

{{- define "oao.apiName" -}}
{{- printf "%s-api" (include "oao.fullname" .) -}}
{{- end -}}

{{/* Namespaces whose Executions are run, as a JSON list; empty = all. */}}
{{- define "oao.namespaces" -}}
{{- if .Values.watch.allNamespaces -}}
{{- list | toJson -}}
{{- else -}}
{{- default (list .Release.Namespace) (.Values.watch.namespaces | uniq | sortAlpha) | toJson -}}
{{- end -}}
{{- end -}}

{{/* Pod Security "restricted" for one container. */}}
{{- define "oao.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{- define "oao.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .uid }}
runAsGroup: {{ .uid }}
fsGroup: {{ .uid }}
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "oao.checks" -}}
{{- if and (not .Values.redis.embedded.enabled) (not .Values.redis.external.secret.name) -}}
{{- fail "redis.external.secret.name: name the Secret that holds the URL of your Redis, or set redis.embedded.enabled=true" -}}
{{- end -}}
{{- if and .Values.redis.embedded.enabled .Values.redis.external.secret.name -}}
{{- fail "redis: both an embedded and an external Redis are set; set redis.embedded.enabled=false" -}}
{{- end -}}
{{- if and .Values.watch.allNamespaces .Values.watch.namespaces -}}
{{- fail "watch: set either allNamespaces or namespaces" -}}
{{- end -}}
{{- end -}}
