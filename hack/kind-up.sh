#!/bin/sh
# The chart on kind, for people with Docker and internet: a cluster, the images, the release.
#
#   hack/kind-up.sh                        # cluster "oao", release "oao" in oao-system
#   KUBECONFIG=… npm test -- containers    # the suite against it; the path is printed at the end
#   kind delete cluster --name oao
#
# Variables: CLUSTER (oao), KIND_IMAGE (the Kubernetes of kind's version; 1.33 or newer).
set -eu

cluster=${CLUSTER:-oao}
root=$(cd "$(dirname "$0")/.." && pwd)
redis=docker.io/library/redis:7.2-bookworm

missing=
for program in docker kind kubectl helm; do
  command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
if [ -n "$missing" ]; then
  echo "kind-up needs these programs, which are not on PATH:$missing" >&2
  exit 1
fi
if ! docker info >/dev/null 2>&1; then
  echo "kind-up needs a Docker that answers: 'docker info' failed" >&2
  exit 1
fi

if ! kind get clusters 2>/dev/null | grep -qx "$cluster"; then
  if [ -n "${KIND_IMAGE:-}" ]; then
    kind create cluster --name "$cluster" --wait 120s --image "$KIND_IMAGE"
  else
    kind create cluster --name "$cluster" --wait 120s
  fi
fi
kubeconfig=${XDG_CACHE_HOME:-$HOME/.cache}/oao/kind-$cluster.kubeconfig
mkdir -p "$(dirname "$kubeconfig")"
kind get kubeconfig --name "$cluster" >"$kubeconfig"
chmod 600 "$kubeconfig"
export KUBECONFIG="$kubeconfig"

# The names that the suite test/containers expects.
docker build -f "$root/hack/image/Dockerfile" -t oao.test/oao:dev "$root"
docker build -f "$root/hack/image/samples.Dockerfile" -t oao.test/samples:dev "$root"
docker pull "$redis"
docker tag "$redis" oao.test/redis:dev
kind load docker-image --name "$cluster" oao.test/oao:dev oao.test/samples:dev oao.test/redis:dev

# Without a volume for Redis, as in the suite: a StatefulSet's claims cannot be changed later.
kubectl create namespace oao-system --dry-run=client -o yaml | kubectl apply -f -
kubectl label namespace oao-system pod-security.kubernetes.io/enforce=restricted --overwrite
helm upgrade oao "$root/charts/oao" --install --wait --timeout 300s -n oao-system \
  --set image.repository=oao.test/oao,image.tag=dev \
  --set worker.image.repository=oao.test/samples,worker.image.tag=dev \
  --set redis.embedded.image.repository=oao.test/redis,redis.embedded.image.tag=dev \
  --set redis.embedded.persistence.enabled=false

echo "export KUBECONFIG=$kubeconfig"
