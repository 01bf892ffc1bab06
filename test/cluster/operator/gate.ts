/** A TCP relay that can be shut: while it is, nobody reaches what is behind it, and every try is counted. */
import { createServer, connect, type AddressInfo, type Socket } from "node:net";

export interface Gate {
  /** The target's address, with the gate's port. */
  readonly url: string;
  /** Connections that were tried since the gate was shut last. */
  readonly refused: number;
  shut(): void;
  open(): void;
  close(): Promise<void>;
}

export async function gateBefore(target: string): Promise<Gate> {
  const { port, pathname } = new URL(target);
  const sockets = new Set<Socket>();
  let isShut = false;
  let refused = 0;
  const server = createServer((socket) => {
    if (isShut) {
      refused += 1;
      socket.destroy();
      return;
    }
    const onward = connect(Number(port), "127.0.0.1");
    for (const [one, other] of [
      [socket, onward],
      [onward, socket],
    ] as const) {
      sockets.add(one);
      one.on("error", () => other.destroy());
      one.on("close", () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port: own } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${own}${pathname}`,
    get refused() {
      return refused;
    },
    shut() {
      isShut = true;
      refused = 0;
      for (const socket of sockets) socket.destroy();
    },
    open() {
      isShut = false;
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}
