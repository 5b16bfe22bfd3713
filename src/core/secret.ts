// A value that cannot be printed, serialised or compared by accident. `reveal()` is called in a short list of files,
// which the architecture test holds.

import { inspect } from "node:util";

const MASK = "[secret]";

export class Secret<Value extends Uint8Array | object = Uint8Array> {
  readonly #value: Value;

  constructor(value: Value) {
    this.#value = value;
  }

  reveal(): Value {
    return this.#value;
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [inspect.custom](): string {
    return MASK;
  }
}
