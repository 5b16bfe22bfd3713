// Reads an answer's body as text, never more of it than a limit: what answers may not be the broker.

import { BrokerUnreachableError } from "./errors.ts";

/** Throws BrokerUnreachableError `unexpected_answer` where the body is longer than `maxBytes` or not UTF-8. */
export async function readText(response: Response, maxBytes: number): Promise<string> {
  if (response.body === null) return "";
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let bytes = 0;
  let text = "";
  try {
    // Fetch standard section 2.2.4: a body's chunks are bytes; Node's types leave them open.
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      bytes += chunk.byteLength;
      // Leaving the loop cancels the stream and so the connection.
      if (bytes > maxBytes) throw unexpected(response, `an answer is longer than ${maxBytes} bytes`);
      text += decoder.decode(chunk, { stream: true });
    }
    return text + decoder.decode();
  } catch (cause) {
    if (cause instanceof TypeError && "code" in cause && cause.code === "ERR_ENCODING_INVALID_ENCODED_DATA") {
      throw unexpected(response, "an answer is not UTF-8 text");
    }
    throw cause;
  }
}

function unexpected(response: Response, message: string): BrokerUnreachableError {
  return new BrokerUnreachableError("unexpected_answer", message, { status: response.status });
}
