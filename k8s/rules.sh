#!/usr/bin/env bash
# The rules of docker compose's Prometheus, word by word, as an object for the Prometheus operator. After every change of
# them:   k8s/rules.sh      (a test compares both)
set -euo pipefail
cd "$(dirname "$0")/.."
for file in docker/observability/prometheus/*.rules.yaml docker/observability/prometheus/*/*.rules.yaml; do
    [[ -e $file ]] || continue
    name=$(basename "$file" .rules.yaml)
    cat <<END
---
# Made by k8s/rules.sh of $file
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: causalrec-${name#causalrec-}
  labels:
    app.kubernetes.io/name: causalrec
    app.kubernetes.io/component: service
spec:
END
    sed 's/^./  &/' "$file"
done >k8s/components/monitoring/prometheusrule.yaml
