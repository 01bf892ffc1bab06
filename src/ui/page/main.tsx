/** The page of `oao ui`: which view, and what is around it. */
import { render, type VNode } from "preact";
import { useEffect } from "preact/hooks";
import { DiffView } from "./diff-view.tsx";
import { visible } from "./format.ts";
import { fatal, isLive, session, startSession } from "./load.ts";
import { ProblemBox } from "./parts.tsx";
import { route, startRouting } from "./route.ts";
import { RunView } from "./run-view.tsx";
import { RunsView } from "./runs-view.tsx";

function App(): VNode {
  const { value } = route;
  const title =
    value.view === "run" ? `${value.key.name} · OAO` : value.view === "diff" ? "Compare · OAO" : "Runs · OAO";
  useEffect(() => {
    document.title = title;
  }, [title]);
  return (
    <>
      <a class="skip" href="#main" onClick={() => document.getElementById("main")?.focus()}>
        Skip to content
      </a>
      <TopBar />
      <View />
    </>
  );
}

function TopBar(): VNode {
  const place = session.value?.place;
  return (
    <header class="top">
      <nav aria-label="Main">
        <a class="brand" href="/">
          <img src="/assets/icon.svg" alt="" width="16" height="16" /> OAO
        </a>
        <a href="/" aria-current={route.value.view === "runs" ? "page" : undefined}>
          Runs
        </a>
      </nav>
      <span class="grow" />
      {place === undefined ? null : (
        <span class="place" title={place.label}>
          {place.kind === "local" ? "This machine" : "Cluster"} <span class="mono">{visible(place.label)}</span>
        </span>
      )}
      <span class={`live ${isLive.value ? "on" : ""}`} role="status">
        <span class="dot" aria-hidden="true" />
        {isLive.value ? "Live" : "Not connected"}
      </span>
    </header>
  );
}

function View(): VNode {
  const problem = fatal.value;
  if (problem !== undefined) {
    return (
      <main id="main" tabIndex={-1} class="alone">
        <ProblemBox problem={problem}>
          <p>
            On a terminal: <code>oao ui</code>
          </p>
        </ProblemBox>
      </main>
    );
  }
  if (session.value === undefined) return <main id="main" tabIndex={-1} />;
  const { value } = route;
  switch (value.view) {
    case "runs":
      return <RunsView />;
    case "run":
      return <RunView key={`${value.key.namespace}/${value.key.name}`} runKey={value.key} />;
    case "diff":
      return <DiffView key={location.pathname} left={value.left} right={value.right} />;
  }
}

startRouting();
void startSession();
const root = document.getElementById("app");
if (root !== null) render(<App />, root);
