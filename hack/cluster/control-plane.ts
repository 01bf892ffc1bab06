// A real control plane on this machine: etcd, API server, controller manager, scheduler. No node.
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { end, run, start, until } from "./components.ts";
import { kubeBinary } from "./kube-binary.ts";
import { freePorts, isAlive, type Layout, makeFolders, startedOf } from "./layout.ts";
import { removeNodes } from "./node-removal.ts";

export const serviceCidr = "10.96.0.0/16";
const readyMs = 60_000;
/** Whom kubeadm writes a kubeconfig for; they belong to one certificate authority and go with it. */
const identities = ["admin", "super-admin", "controller-manager", "scheduler"];

interface Ports {
  readonly etcd: number;
  readonly etcdPeer: number;
  readonly api: number;
  readonly manager: number;
  readonly scheduler: number;
}

/** Where nodes and pods see the API server, and which addresses are theirs. */
export interface Site {
  readonly address: string;
  readonly podCidr: string;
  /** Else each node's share of podCidr is what its CNI configuration says. */
  readonly allocatePods: boolean;
}

/**
 * Brings the control plane up and waits until it is ready. Repeat: no-op while every component of it lives.
 * `without` names components that are not started, such as a scheduler where pods need no node.
 */
export async function up(layout: Layout, site?: () => Site, without: readonly string[] = []): Promise<void> {
  const running = startedOf(layout).filter(({ component }) => !component.includes("."));
  if (running.length > 0 && running.every(isAlive)) return;
  await down(layout); // what a crash left behind
  makeFolders(layout);
  const kube = kubeBinary();
  const [etcd = 0, etcdPeer = 0, api = 0, manager = 0, scheduler = 0] = await freePorts(5);
  const ports = { etcd, etcdPeer, api, manager, scheduler };
  const chosen = site?.() ?? { address: outsideAddress(), podCidr: "10.244.0.0/16", allocatePods: true };
  certificates(kube, layout, chosen, api);
  const [etcdPart, server, ...managers] = components(layout, ports, chosen);
  const startPart = ([component, flags]: [string, string[]]) => start(layout, component, [kube, component, ...flags]);
  for (const part of [etcdPart, server]) if (part !== undefined) startPart(part);
  const ask = ["kubectl", "--kubeconfig", join(layout.folder, "super-admin.conf"), "get", "--raw", "/readyz"];
  const isReady = () => spawnSync(kube, ask, { stdio: "ignore", timeout: 5_000 }).status === 0;
  await until(layout, "kube-apiserver", readyMs, isReady);
  // They give up when there is no API server.
  for (const part of managers) if (!without.includes(part[0])) startPart(part);
  const admins = ["kubeadm:cluster-admins", "--clusterrole=cluster-admin", "--group=kubeadm:cluster-admins"];
  run(kube, [
    "kubectl",
    "--kubeconfig",
    join(layout.folder, "super-admin.conf"),
    "create",
    "clusterrolebinding",
    ...admins,
  ]);
}

/** Ends exactly the processes that `up` started, and removes nodes and files of the cluster but its logs. Repeat: no-op. */
export async function down(layout: Layout): Promise<void> {
  await removeNodes(layout);
  await end(layout, startedOf(layout));
  const files = ["pids", "etcd", "pki", "kubeconfig", "kubeadm.yaml", "Corefile", "nodes"];
  for (const part of [...identities.map((which) => `${which}.conf`), ...files])
    rmSync(join(layout.folder, part), { recursive: true, force: true });
}

/** kubeadm and pods refuse loopback addresses. */
function outsideAddress(): string {
  const found = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find(({ family, internal }) => family === "IPv4" && !internal);
  if (found !== undefined) return found.address;
  const own = "10.250.0.1";
  spawnSync("ip", ["addr", "add", `${own}/32`, "dev", "lo"]); // there already = fine
  return own;
}

function certificates(kube: string, layout: Layout, { address, podCidr }: Site, api: number): void {
  const config = join(layout.folder, "kubeadm.yaml");
  writeFileSync(
    config,
    `apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: { advertiseAddress: ${address}, bindPort: ${api} }
nodeRegistration: { criSocket: "unix:///run/none.sock", name: ${layout.name} }
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.34.4
clusterName: ${layout.name}
certificatesDir: ${layout.pki}
networking: { serviceSubnet: ${serviceCidr}, podSubnet: ${podCidr} }
apiServer: { certSANs: ["127.0.0.1", localhost] }
`,
  );
  run(kube, ["kubeadm", "init", "phase", "certs", "all", "--config", config]);
  for (const which of identities)
    run(kube, ["kubeadm", "init", "phase", "kubeconfig", which, "--config", config, "--kubeconfig-dir", layout.folder]);
  for (const file of ["admin", "super-admin", "controller-manager", "scheduler"])
    toLoopback(layout, `${file}.conf`, api);
  writeFileSync(layout.kubeconfig, readFileSync(join(layout.folder, "admin.conf")), { mode: 0o600 });
}

/** Nothing on this machine talks to another address than loopback. */
function toLoopback(layout: Layout, file: string, api: number): void {
  const path = join(layout.folder, file);
  const text = readFileSync(path, "utf8").replace(/server: https:\/\/\S+/, `server: https://127.0.0.1:${api}`);
  writeFileSync(path, text, { mode: 0o600 });
}

function components(layout: Layout, ports: Ports, site: Site): [component: string, flags: string[]][] {
  const pki = (file: string): string => join(layout.pki, file);
  const config = (name: string): string => join(layout.folder, `${name}.conf`);
  const etcdUrl = `http://127.0.0.1:${ports.etcd}`;
  const peerUrl = `http://127.0.0.1:${ports.etcdPeer}`;
  return [
    [
      "etcd",
      [
        `--data-dir=${join(layout.folder, "etcd")}`,
        `--listen-client-urls=${etcdUrl}`,
        `--advertise-client-urls=${etcdUrl}`,
        `--listen-peer-urls=${peerUrl}`,
        `--initial-advertise-peer-urls=${peerUrl}`,
        `--initial-cluster=default=${peerUrl}`,
      ],
    ],
    [
      "kube-apiserver",
      [
        `--etcd-servers=${etcdUrl}`,
        `--advertise-address=${site.address}`,
        `--secure-port=${ports.api}`,
        `--client-ca-file=${pki("ca.crt")}`,
        `--tls-cert-file=${pki("apiserver.crt")}`,
        `--tls-private-key-file=${pki("apiserver.key")}`,
        `--service-account-key-file=${pki("sa.pub")}`,
        `--service-account-signing-key-file=${pki("sa.key")}`,
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        `--service-cluster-ip-range=${serviceCidr}`,
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        `--kubelet-client-certificate=${pki("apiserver-kubelet-client.crt")}`,
        `--kubelet-client-key=${pki("apiserver-kubelet-client.key")}`,
        "--kubelet-preferred-address-types=InternalIP",
        `--requestheader-client-ca-file=${pki("front-proxy-ca.crt")}`,
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        `--proxy-client-cert-file=${pki("front-proxy-client.crt")}`,
        `--proxy-client-key-file=${pki("front-proxy-client.key")}`,
      ],
    ],
    [
      "kube-controller-manager",
      [
        `--kubeconfig=${config("controller-manager")}`,
        `--authentication-kubeconfig=${config("controller-manager")}`,
        `--authorization-kubeconfig=${config("controller-manager")}`,
        "--bind-address=127.0.0.1",
        `--secure-port=${ports.manager}`,
        `--root-ca-file=${pki("ca.crt")}`,
        `--service-account-private-key-file=${pki("sa.key")}`,
        "--use-service-account-credentials=true",
        ...(site.allocatePods ? [`--cluster-cidr=${site.podCidr}`, "--allocate-node-cidrs=true"] : []),
        `--cluster-signing-cert-file=${pki("ca.crt")}`,
        `--cluster-signing-key-file=${pki("ca.key")}`,
        "--leader-elect=false",
      ],
    ],
    [
      "kube-scheduler",
      [
        `--kubeconfig=${config("scheduler")}`,
        "--bind-address=127.0.0.1",
        `--secure-port=${ports.scheduler}`,
        "--leader-elect=false",
      ],
    ],
  ];
}
