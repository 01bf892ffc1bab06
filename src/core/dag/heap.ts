/** A binary min-heap of names, ordered by UTF-16 code unit: `<` on strings is that order in every locale. */
export class NameHeap {
  readonly #names: string[] = [];

  get size(): number {
    return this.#names.length;
  }

  push(name: string): void {
    const names = this.#names;
    let place = names.push(name) - 1;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (this.#at(parent) <= name) break;
      names[place] = this.#at(parent);
      place = parent;
    }
    names[place] = name;
  }

  /** The smallest name, taken out; undefined when empty. */
  pop(): string | undefined {
    const names = this.#names;
    const smallest = names[0];
    const last = names.pop();
    if (smallest === undefined || last === undefined || names.length === 0) return smallest;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= names.length) break;
      if (child + 1 < names.length && this.#at(child + 1) < this.#at(child)) child += 1;
      if (last <= this.#at(child)) break;
      names[place] = this.#at(child);
      place = child;
    }
    names[place] = last;
    return smallest;
  }

  #at(place: number): string {
    const name = this.#names[place];
    if (name === undefined) throw new RangeError(`no heap place ${place}`);
    return name;
  }
}
