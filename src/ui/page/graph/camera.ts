/** Which part of a drawing is seen, and how large. */

export interface Camera {
  /** Drawing coordinates of the view's left upper corner. */
  readonly x: number;
  readonly y: number;
  /** Pixels per unit. */
  readonly scale: number;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** Names can be read from this scale on. */
export const legibleFrom = 0.5;
const beginScale = 0.75;
const scaleMin = 0.03;
const scaleMax = 1.6;
const margin = 16;

/** All of `content`, in the middle, at most at its own size. */
export function fit(content: Size, view: Size): Camera {
  const scale = clamp(
    Math.min((view.width - 2 * margin) / content.width, (view.height - 2 * margin) / content.height, 1),
  );
  return {
    x: (content.width - view.width / scale) / 2,
    y: (content.height - view.height / scale) / 2,
    scale,
  };
}

/** What is seen first: all of `content`, but of what is only long its beginning, large enough to be read. */
export function begin(content: Size, view: Size): Camera {
  const whole = fit(content, view);
  if (whole.scale >= legibleFrom || content.height * beginScale > view.height - 2 * margin) return whole;
  return {
    x: -margin / beginScale,
    y: (content.height - view.height / beginScale) / 2,
    scale: beginScale,
  };
}

/** The point of the drawing that is at `at` (pixels) stays there. */
export function zoom(camera: Camera, factor: number, at: { readonly x: number; readonly y: number }): Camera {
  const scale = clamp(camera.scale * factor);
  return {
    x: camera.x + at.x / camera.scale - at.x / scale,
    y: camera.y + at.y / camera.scale - at.y / scale,
    scale,
  };
}

export function pan(camera: Camera, dx: number, dy: number): Camera {
  return { ...camera, x: camera.x - dx / camera.scale, y: camera.y - dy / camera.scale };
}

/** Moved only as far as is needed to see the rectangle. */
export function reveal(
  camera: Camera,
  view: Size,
  rectangle: Size & { readonly x: number; readonly y: number },
): Camera {
  const edge = margin / camera.scale;
  const [width, height] = [view.width / camera.scale, view.height / camera.scale];
  const move = (at: number, length: number, from: number, size: number) => {
    if (at - edge < from) return at - edge;
    return at + length + edge > from + size ? at + length + edge - size : from;
  };
  return {
    ...camera,
    x: move(rectangle.x, rectangle.width, camera.x, width),
    y: move(rectangle.y, rectangle.height, camera.y, height),
  };
}

/** Whether all of the rectangle is in sight. */
export function shows(
  camera: Camera,
  view: Size,
  { x, y, width, height }: Size & { readonly x: number; readonly y: number },
): boolean {
  return (
    x >= camera.x &&
    y >= camera.y &&
    x + width <= camera.x + view.width / camera.scale &&
    y + height <= camera.y + view.height / camera.scale
  );
}

function clamp(scale: number): number {
  return Math.min(scaleMax, Math.max(scaleMin, Number.isFinite(scale) ? scale : 1));
}
