/** Secrets out of what this process writes: a module's console.log as much as our own lines. */

/**
 * Whole writes are looked at, so a value that is written in two halves is not found, nor what goes around the streams (file
 * descriptors, native code).
 */
export function maskOutput(mask: (text: string) => string): void {
  for (const stream of [process.stdout, process.stderr]) {
    const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
    stream.write = (chunk: unknown, ...rest: unknown[]) => write(masked(chunk, mask), ...rest);
  }
}

function masked(chunk: unknown, mask: (text: string) => string): unknown {
  if (typeof chunk === "string") return mask(chunk);
  if (!(chunk instanceof Uint8Array)) return chunk;
  const text = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString("utf8");
  const clean = mask(text);
  return clean === text ? chunk : clean;
}
