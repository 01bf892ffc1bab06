/** Addresses of the page: `/`, `/runs/NAMESPACE/NAME?node=&step=`, `/diff/NAMESPACE/NAME/NAMESPACE/NAME?step=`. */
import { signal } from "@preact/signals";
import type { RunKey } from "../wire.ts";

export type Route =
  | { readonly view: "runs" }
  | { readonly view: "run"; readonly key: RunKey }
  | { readonly view: "diff"; readonly left: RunKey; readonly right: RunKey };

export const route = signal<Route>({ view: "runs" });
/** What is selected in a view. */
export const selection = signal<Readonly<Record<string, string>>>({});

export function runPath(key: RunKey): string {
  return `/${runApi(key)}`;
}

export function diffPath(left: RunKey, right: RunKey): string {
  return `/diff/${keyPath(left)}/${keyPath(right)}`;
}

/** As it stands in the server's addresses. */
export function runApi(key: RunKey): string {
  return `runs/${keyPath(key)}`;
}

function keyPath({ namespace, name }: RunKey): string {
  return `${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
}

export function startRouting(): void {
  const read = () => {
    route.value = parseRoute(location.pathname);
    selection.value = Object.fromEntries(new URLSearchParams(location.search));
  };
  addEventListener("popstate", read);
  // Links work without a reload; with a modifier they are the browser's.
  addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
    if (link === null || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const href = link.getAttribute("href") ?? "/";
    if (!href.startsWith("#")) navigate(href);
  });
  read();
}

export function navigate(path: string): void {
  history.pushState(null, "", path);
  const url = new URL(path, location.origin);
  route.value = parseRoute(url.pathname);
  selection.value = Object.fromEntries(url.searchParams);
}

/** Changes what is selected, and the address with it; undefined takes it away. */
export function select(change: Readonly<Record<string, string | undefined>>): void {
  const next = Object.entries({ ...selection.value, ...change }).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  selection.value = Object.fromEntries(next);
  const query = new URLSearchParams(next).toString();
  history.replaceState(null, "", location.pathname + (query === "" ? "" : `?${query}`));
}

function parseRoute(path: string): Route {
  const [first, ...rest] = path.split("/").filter((part) => part !== "");
  const [namespace, name, otherNamespace, otherName] = rest.map(decodeURIComponent);
  if (first === "runs" && namespace !== undefined && name !== undefined)
    return { view: "run", key: { namespace, name } };
  if (first === "diff" && namespace !== undefined && name !== undefined && otherNamespace !== undefined) {
    const right = { namespace: otherNamespace, name: otherName ?? "" };
    return { view: "diff", left: { namespace, name }, right };
  }
  return { view: "runs" };
}
