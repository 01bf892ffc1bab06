// Kubernetes as one program (hack/kube).
import { goBinary } from "./go-binary.ts";

const version = "v1.34.4";
const [major = "", minor = ""] = version.slice(1).split(".");
const versions = { gitVersion: version, gitMajor: major, gitMinor: minor };

/** Path of the built program; builds it when it is not there (6 to 10 minutes on two cores). Throws what is missing. */
export function kubeBinary(): string {
  return goBinary({
    name: "kube",
    notice: `building Kubernetes ${version}; the first time takes some minutes`,
    stamp: Object.fromEntries(
      Object.entries(versions).map(([name, value]) => [`k8s.io/component-base/version.${name}`, value]),
    ),
  });
}
