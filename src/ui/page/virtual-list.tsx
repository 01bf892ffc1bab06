/** A table of any length that has only the rows in sight in the document, and that a keyboard walks through. */
import type { ComponentChildren, VNode } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

interface Props {
  readonly id: string;
  readonly label: string;
  /** Class with the grid's columns. */
  readonly columns: string;
  readonly head: readonly string[];
  readonly count: number;
  readonly rowHeight: number;
  /** Index of the marked row; -1 = none. */
  readonly active: number;
  readonly onActive: (index: number) => void;
  /** Enter, or a double click. */
  readonly onOpen?: ((index: number) => void) | undefined;
  /** Cells of one row. */
  readonly row: (index: number) => ComponentChildren;
  readonly rowClass?: ((index: number) => string) | undefined;
  readonly empty: ComponentChildren;
}

/** Rows above and below those in sight. */
const overscan = 8;

export function VirtualList(props: Props): VNode {
  const { id, label, columns, head, count, rowHeight, active, onActive, onOpen, row, rowClass, empty } = props;
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  const measure = () => {
    const element = box.current;
    if (element === null) return;
    const next = { top: element.scrollTop, height: element.clientHeight };
    setView((before) => (before.top === next.top && before.height === next.height ? before : next));
  };
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return;
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useEffect(() => reveal(box.current, active, rowHeight), [active, rowHeight, count > 0]);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter" && active >= 0) {
      event.preventDefault();
      onOpen?.(active);
      return;
    }
    const next = moved(event.key, active, count, Math.max(1, Math.floor(view.height / rowHeight) - 1));
    if (next === undefined) return;
    event.preventDefault();
    onActive(next);
  };
  const first = Math.max(0, Math.floor(view.top / rowHeight) - overscan);
  const last = Math.min(count, Math.ceil((view.top + view.height) / rowHeight) + overscan);
  const rows: VNode[] = [];
  for (let index = first; index < last; index += 1) {
    rows.push(
      <div
        key={index}
        id={`${id}-${index}`}
        role="row"
        aria-rowindex={index + 2}
        aria-selected={index === active}
        class={`row cells ${columns} ${rowClass?.(index) ?? ""}`}
        style={{ top: `${index * rowHeight}px`, height: `${rowHeight}px` }}
        onClick={() => onActive(index)}
        onDblClick={() => onOpen?.(index)}
      >
        {row(index)}
      </div>,
    );
  }
  return (
    <div
      class="list"
      role="grid"
      id={id}
      aria-label={label}
      aria-rowcount={count + 1}
      tabIndex={0}
      aria-activedescendant={active >= 0 ? `${id}-${active}` : undefined}
      onKeyDown={onKeyDown}
    >
      <div role="rowgroup">
        <div role="row" aria-rowindex={1} class={`head cells ${columns}`}>
          {head.map((text) => (
            <div key={text} role="columnheader">
              {text}
            </div>
          ))}
        </div>
      </div>
      <div role="rowgroup" class="scroll" ref={box} onScroll={measure} tabIndex={-1}>
        {count === 0 ? <div class="empty">{empty}</div> : null}
        <div class="spacer" style={{ height: `${count * rowHeight}px` }}>
          {rows}
        </div>
      </div>
    </div>
  );
}

export function Cell({ children, class: name }: { children?: ComponentChildren; class?: string }): VNode {
  return (
    <div role="gridcell" class={name}>
      {children}
    </div>
  );
}

function moved(key: string, active: number, count: number, page: number): number | undefined {
  if (count === 0) return undefined;
  const to = {
    ArrowDown: active + 1,
    ArrowUp: active < 0 ? 0 : active - 1,
    PageDown: active + page,
    PageUp: active - page,
    Home: 0,
    End: count - 1,
  }[key];
  return to === undefined ? undefined : Math.min(count - 1, Math.max(0, to));
}

function reveal(box: HTMLElement | null, active: number, rowHeight: number): void {
  if (box === null || active < 0) return;
  const top = active * rowHeight;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + rowHeight > box.scrollTop + box.clientHeight) box.scrollTop = top + rowHeight - box.clientHeight;
}
