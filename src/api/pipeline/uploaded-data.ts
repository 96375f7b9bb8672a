/** The data of an upload's messages. The first one was read before, for what else it says. */
export async function* uploadedData(
  first: IteratorResult<DataMessage>,
  rest: AsyncIterator<DataMessage>,
): AsyncGenerator<Uint8Array> {
  if (first.done === true) return;
  yield first.value.data;
  for await (const { data } of { [Symbol.asyncIterator]: () => rest }) yield data;
}

interface DataMessage {
  readonly data: Uint8Array;
}
