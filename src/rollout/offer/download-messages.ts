import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { crc32c } from "@node-rs/crc32";
import {
  DownloadChunkSchema,
  DownloadFirmwareResponseSchema,
} from "../../../gen/ota/v1/update_service_pb.js";
import type { InPlaceAnswers } from "../../api/pipeline/endpoint.ts";
import type { Piece } from "../../firmware/download-piece.ts";

/** A chunk of a download as an answer of DownloadFirmware, with the piece that it was made from. */
export class ChunkAnswer {
  readonly message: {
    readonly case: "chunk";
    readonly value: { readonly offset: bigint; readonly data: Buffer<ArrayBuffer>; readonly crc32c: number };
  };
  /** Bytes of content. */
  readonly length: number;
  readonly #piece: Piece;

  constructor(piece: Piece, offset: number) {
    const { data } = piece;
    this.#piece = piece;
    this.length = data.length;
    this.message = { case: "chunk", value: { offset: BigInt(offset), data, crc32c: crc32c(data) } };
  }

  /**
   * The message in gRPC's framing, around the content where that lies: the general encoder copies it several times as its
   * buffer grows, and grpc-js once more.
   */
  framed(): Buffer {
    const { offset, data, crc32c: checksum } = this.message.value;
    const { field } = DownloadChunkSchema;
    const fields = new BinaryWriter()
      .tag(field.offset.number, WireType.Varint)
      .uint64(offset)
      .tag(field.data.number, WireType.LengthDelimited)
      .uint32(data.length)
      .finish();
    const tail = new BinaryWriter().tag(field.crc32c.number, WireType.Bit32).fixed32(checksum).finish();
    const chunkBytes = fields.length + data.length + tail.length;
    const wrapper = new BinaryWriter()
      .tag(DownloadFirmwareResponseSchema.field.chunk.number, WireType.LengthDelimited)
      .uint32(chunkBytes)
      .finish();
    const head = Buffer.alloc(5 + wrapper.length + fields.length);
    head.writeUInt32BE(wrapper.length + chunkBytes, 1);
    head.set(wrapper, 5);
    head.set(fields, 5 + wrapper.length);
    return this.#piece.wrapped(head, tail);
  }

  /** Gives the piece's memory back; neither the message nor its bytes may be used any more. */
  release(): void {
    this.#piece.release();
  }
}

/** Chunks go out from the memory that they were read into, which then serves the next ones. */
export const chunksInPlace: InPlaceAnswers = {
  frame: (answer) => (answer instanceof ChunkAnswer ? answer.framed() : undefined),
  sent: (answer) => {
    if (answer instanceof ChunkAnswer) answer.release();
  },
};
