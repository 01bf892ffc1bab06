// CoreDNS (hack/coredns) for a cluster with container nodes. It runs beside the control plane, so that it outlives any node,
// behind the Service address that every kubelet gives its pods.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { run, start } from "./components.ts";
import { goBinary } from "./go-binary.ts";
import { kubeBinary } from "./kube-binary.ts";
import { isAlive, type Layout, startedOf } from "./layout.ts";
import type { Network } from "./network.ts";
import { dnsAddress } from "./node-files.ts";

const component = "dns.coredns";

/** Repeat: no-op while it lives. */
export function startNameServer(layout: Layout, { gateway }: Network): void {
  if (startedOf(layout).some((each) => each.component === component && isAlive(each))) return;
  const corefile = join(layout.folder, "Corefile");
  writeFileSync(
    corefile,
    `cluster.local in-addr.arpa ip6.arpa {
    bind ${gateway}
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig ${layout.kubeconfig}
    }
    cache 5
}
# Nothing else exists for pods of a test.
. {
    bind ${gateway}
    template ANY ANY {
        rcode NXDOMAIN
    }
}
`,
  );
  const binary = goBinary({ name: "coredns", notice: "building CoreDNS; the first time takes some minutes" });
  start(layout, component, [binary, "-conf", corefile]);
  const labels = { "k8s-app": "kube-dns", "kubernetes.io/service-name": "kube-dns" };
  const metadata = { name: "kube-dns", namespace: "kube-system", labels };
  const ports = ["UDP", "TCP"].map((protocol) => ({ name: `dns-${protocol.toLowerCase()}`, port: 53, protocol }));
  const service = { apiVersion: "v1", kind: "Service", metadata, spec: { clusterIP: dnsAddress, ports } };
  const endpoints = [{ addresses: [gateway], conditions: { ready: true } }];
  const slice = {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata,
    addressType: "IPv4",
    endpoints,
    ports,
  };
  const list = JSON.stringify({ apiVersion: "v1", kind: "List", items: [service, slice] });
  run(kubeBinary(), ["kubectl", "--kubeconfig", layout.kubeconfig, "apply", "--server-side", "-f", "-"], list);
}
