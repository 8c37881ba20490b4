{{/* Names and labels. */}}

{{- define "maru.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* 50 characters at most: what is appended to it must fit a label too. */}}
{{- define "maru.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "maru.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "maru.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What the DaemonSet, Services and policies select by. Only marud's pods carry all of it. */}}
{{- define "maru.selectorLabels" -}}
app.kubernetes.io/name: {{ include "maru.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: daemon
{{- end -}}

{{- define "maru.podLabels" -}}
{{ include "maru.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{/* Labels of an object that is not one of marud's pods: without the component, so that nothing selects it. */}}
{{- define "maru.labels" -}}
app.kubernetes.io/name: {{ include "maru.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Two maps as one, written once: what is given as text wins, so that no key stands there twice. */}}
{{- define "maru.merge" -}}
{{- toYaml (merge (fromYaml (index . 1)) (default dict (index . 0))) -}}
{{- end -}}

{{- define "maru.nodeSelector" -}}
{{- include "maru.merge" (list .Values.nodeSelector "kubernetes.io/os: linux") -}}
{{- end -}}

{{- define "maru.image" -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}

{{- define "maru.serviceAccountName" -}}
{{- $own := ternary (include "maru.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $own .Values.serviceAccount.name -}}
{{- end -}}

{{- define "maru.priorityClassName" -}}
{{- $own := ternary (include "maru.fullname" .) "" .Values.priorityClass.create -}}
{{- default $own .Values.priorityClass.name -}}
{{- end -}}

{{/* Ends the rendering where the cluster has no objects of the Prometheus operator; `what` is the value that asks. */}}
{{- define "maru.needsOperator" -}}
{{- if not (.root.Capabilities.APIVersions.Has "monitoring.coreos.com/v1") -}}
{{- fail (printf "%s needs the Prometheus operator, and this cluster has no monitoring.coreos.com/v1" .what) -}}
{{- end -}}
{{- end -}}

{{/* The labels that rules and dashboards go by: the job they name, and the node as the instance, whose series so go on
     from one pod to the next. */}}
{{- define "maru.relabelings" -}}
- targetLabel: job
  replacement: maru
- sourceLabels: [__meta_kubernetes_pod_node_name]
  targetLabel: instance
{{- end -}}
