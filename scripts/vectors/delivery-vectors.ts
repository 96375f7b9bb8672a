/** The check sums of chunks, and what a device does with acknowledgements. */
export function deliveryVectors(): { "crc32c.json": object; "acks.json": object } {
  return { "crc32c.json": checksums, "acks.json": acks };
}

const hex = (bytes: ArrayLike<number>): string => Buffer.from(Array.from(bytes)).toString("hex");
const rising = Array.from({ length: 32 }, (_, at) => at);

/** Those of RFC 3720, appendix B.4, and the check value of the catalogues of CRCs. */
const checksums = {
  about: "CRC-32C (RFC 3720, section 12.1) of bytes in hexadecimal, as DownloadChunk.crc32c has it.",
  checksums: [
    { data: "", crc32c: 0 },
    { data: hex(new Uint8Array(32)), crc32c: 0x8a9136aa },
    { data: hex(new Uint8Array(32).fill(0xff)), crc32c: 0x62a8ab43 },
    { data: hex(rising), crc32c: 0x46dd794e },
    { data: hex(rising.toReversed()), crc32c: 0x113fdb5c },
    { data: hex(Buffer.from("123456789")), crc32c: 0xe3069283 },
  ],
};

/** In each the device holds `backlog` and is told `acks`, one after the other; then it still holds `keeps`. */
const acks = {
  about:
    "A device holds the heartbeats of backlog (sequences), gets the acks one after the other, and then still holds keeps, which it sends again on its next stream or call. All in one epoch.",
  cases: [
    { what: "all is stored", backlog: [1, 2, 3], acks: [{ ackedThrough: 3 }], keeps: [] },
    {
      what: "what lies above the ack is kept",
      backlog: [1, 2, 3, 4],
      acks: [{ ackedThrough: 2 }],
      keeps: [3, 4],
    },
    { what: "nothing is stored yet", backlog: [1, 2], acks: [{ ackedThrough: 0 }], keeps: [1, 2] },
    {
      what: "several batches share one ack",
      backlog: [1, 2, 3, 4, 5, 6],
      acks: [{ ackedThrough: 6 }],
      keeps: [],
    },
    {
      what: "the same ack twice is harmless",
      backlog: [4, 5],
      acks: [{ ackedThrough: 4 }, { ackedThrough: 4 }],
      keeps: [5],
    },
    {
      what: "an ack that lies behind brings nothing back",
      backlog: [4, 5, 6],
      acks: [{ ackedThrough: 5 }, { ackedThrough: 3 }],
      keeps: [6],
    },
    { what: "gaps are not waited for", backlog: [2, 5, 9], acks: [{ ackedThrough: 5 }], keeps: [9] },
    {
      what: "what is refused for good lies at or below the ack, and is forgotten with it",
      backlog: [7, 8, 9],
      acks: [{ ackedThrough: 8, rejected: [8] }],
      keeps: [9],
    },
    {
      what: "a reading that was left out is no reason to send the heartbeat again",
      backlog: [10],
      acks: [{ ackedThrough: 10, leftOut: [{ sequence: 10, field: "battery_percent" }] }],
      keeps: [],
    },
  ],
};
