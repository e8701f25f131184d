{{/* What people and sidecars know the release by. Services add up to nine letters. */}}
{{- define "dynmesh.name" -}}
{{- $name := contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) -}}
{{- default $name .Values.fullnameOverride | trunc 46 | trimSuffix "-" -}}
{{- end -}}

{{- define "dynmesh.labels" -}}
app.kubernetes.io/name: dynmesh
app.kubernetes.io/part-of: dynmesh
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{/* Of pods: nothing that changes with the chart, which would be other pods. */}}
{{- define "dynmesh.podLabels" -}}
app.kubernetes.io/name: dynmesh
app.kubernetes.io/part-of: dynmesh
{{- end -}}

{{/* What selects frontends of this release, and never changes. */}}
{{- define "dynmesh.selector" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
dynmesh/role: frontend
{{- end -}}

{{- define "dynmesh.drillSelector" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
dynmesh/role: drill
{{- end -}}

{{- define "dynmesh.etcdSelector" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: etcd
{{- end -}}

{{- define "dynmesh.serviceAccount" -}}
{{- default (printf "%s-frontend" (include "dynmesh.name" .)) .Values.serviceAccountName -}}
{{- end -}}

{{- define "dynmesh.gossipSecret" -}}
{{- default (printf "%s-gossip" (include "dynmesh.name" .)) .Values.gossip.existingSecret -}}
{{- end -}}

{{- define "dynmesh.etcdEndpoints" -}}
{{- if .Values.etcd.install.enabled -}}
http://{{ include "dynmesh.name" . }}-etcd:2379
{{- else -}}
{{- join "," .Values.etcd.endpoints -}}
{{- end -}}
{{- end -}}

{{/* The registries that are followed: DYN_DISCOVERY_BACKEND. */}}
{{- define "dynmesh.registries" -}}
{{- $all := list -}}
{{- if include "dynmesh.etcdEndpoints" . }}{{ $all = append $all "etcd" }}{{ end -}}
{{- if .Values.kubernetes.enabled }}{{ $all = append $all "kubernetes" }}{{ end -}}
{{- join "," $all -}}
{{- end -}}

{{/* A Role of these rules, and that the service account has it. */}}
{{- define "dynmesh.role" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels: {{- include "dynmesh.labels" .root | nindent 4 }}
rules: {{- toYaml .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels: {{- include "dynmesh.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "dynmesh.serviceAccount" .root }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}

{{/* What an election by a Lease takes. The right to create one cannot be for one name. */}}
{{- define "dynmesh.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ . }}]
  verbs: [get, update]
{{- end -}}

{{/* Kubelets ask in TLS where there is nothing else, and look at no certificate. */}}
{{- define "dynmesh.probeScheme" -}}
{{- if .Values.access.tlsSecret }}, scheme: HTTPS{{ end -}}
{{- end -}}

{{/* What no schema can say of values that do not go together. */}}
{{- define "dynmesh.check" -}}
{{- with .Values -}}
{{- if and .gossip.keys .gossip.existingSecret }}{{ fail "gossip.keys and gossip.existingSecret: one of them" }}{{ end -}}
{{- if not (or .gossip.keys .gossip.existingSecret) }}{{ fail "gossip.keys: want a key, from `dynmesh keygen` or `openssl rand -base64 32` (or gossip.existingSecret, the name of a Secret that has it under `keyring`)" }}{{ end -}}
{{- if and .etcd.install.enabled (or .etcd.endpoints .etcd.tlsSecret) }}{{ fail "etcd.install.enabled is for where there is no etcd: without etcd.endpoints and etcd.tlsSecret" }}{{ end -}}
{{- if not (or .kubernetes.enabled .etcd.endpoints .etcd.install.enabled) }}{{ fail "nothing to follow: want kubernetes.enabled, etcd.endpoints or etcd.install.enabled" }}{{ end -}}
{{- range .etcd.endpoints }}
{{- if ne (hasPrefix "https://" .) (ne $.Values.etcd.tlsSecret "") }}{{ fail (printf "etcd.endpoints: %s: endpoints are https with etcd.tlsSecret, and http without" .) }}{{ end -}}
{{- end -}}
{{- if and .drill.enabled (not (include "dynmesh.etcdEndpoints" $)) }}{{ fail "drill.enabled: want etcd.endpoints or etcd.install.enabled: its phantoms are registered there" }}{{ end -}}
{{- if and .kubernetes.services (not .kubernetes.enabled) }}{{ fail "kubernetes.services: want kubernetes.enabled" }}{{ end -}}
{{- if and (or .kubernetes.endpointSlices .kubernetes.readinessGate) (not .kubernetes.enabled) }}{{ fail "kubernetes.endpointSlices, kubernetes.readinessGate: want kubernetes.enabled" }}{{ end -}}
{{- if and .kubernetes.enabled (not .rbac.create) (not .serviceAccountName) }}{{ fail "rbac.create is false: want serviceAccountName, an account that may list and watch endpointslices and dynamoworkermetadatas" }}{{ end -}}
{{- end -}}
{{- end -}}
