/** Takes memory that V8 does not manage, page by page, until the kernel says no. */
export function devour() {
  const eaten = [];
  for (;;) eaten.push(Buffer.alloc(16 * 2 ** 20, 1));
}
