/** Wheel and drag on the drawing. */
import { useEffect, useRef } from "preact/hooks";

/** A wheel listener that may stop the page from scrolling must be registered as such. */
export function useWheel(
  frame: { readonly current: HTMLElement | null },
  onZoom: (factor: number, at: { x: number; y: number }) => void,
): void {
  const latest = useRef(onZoom);
  latest.current = onZoom;
  useEffect(() => {
    const element = frame.current;
    if (element === null) return;
    const listener = (event: WheelEvent) => {
      event.preventDefault();
      const { left, top } = element.getBoundingClientRect();
      latest.current(Math.exp(-event.deltaY / 400), { x: event.clientX - left, y: event.clientY - top });
    };
    element.addEventListener("wheel", listener, { passive: false });
    return () => element.removeEventListener("wheel", listener);
  }, []);
}

interface Drag {
  /** Whether the click that follows ends a drag. */
  readonly moved: () => boolean;
  readonly handlers: Readonly<Record<string, (event: PointerEvent) => void>>;
}

const dragFrom = 4;

export function useDrag(onMove: (dx: number, dy: number) => void): Drag {
  const state = useRef({ isDown: false, distance: 0, x: 0, y: 0 });
  return {
    moved: () => state.current.distance > dragFrom,
    handlers: {
      onPointerDown: (event) => {
        state.current = { isDown: true, distance: 0, x: event.clientX, y: event.clientY };
      },
      onPointerMove: (event) => {
        const now = state.current;
        if (!now.isDown) return;
        if (event.buttons === 0) {
          now.isDown = false;
          return;
        }
        const [dx, dy] = [event.clientX - now.x, event.clientY - now.y];
        state.current = {
          isDown: true,
          distance: now.distance + Math.abs(dx) + Math.abs(dy),
          x: event.clientX,
          y: event.clientY,
        };
        if (state.current.distance > dragFrom) onMove(dx, dy);
      },
      onPointerUp: () => {
        state.current.isDown = false;
      },
    },
  };
}
