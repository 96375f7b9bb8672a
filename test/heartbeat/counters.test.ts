import { describe, expect, test, vi } from "vitest";
import { device, records, send, startIngest, stored, stream } from "./heartbeat-fixture.ts";

const follows = { followsEpoch: true } as const;

describe("a counter that begins again under a new boot", () => {
  const rebooted = { ...follows, bootId: "boot-2" };

  test("is heard in a new epoch, if the device leaves that to the service", async () => {
    await using fixture = await startIngest();
    const id = device();
    await send(fixture, id, [1, 2, 3, 4, 5], follows);
    expect(await send(fixture, id, [1, 2], rebooted)).toEqual({ ackedThrough: 2, epoch: 2, rejected: [] });
    expect(await send(fixture, id, [3], rebooted)).toEqual({ ackedThrough: 3, epoch: 2, rejected: [] });
    expect(await stored(fixture, id)).toEqual([1, 2, 3, 4, 5]);
    expect(await stored(fixture, id, 2)).toEqual([1, 2, 3]);
    expect(fixture.observed.map(({ epoch, sequence }) => [epoch, sequence]).slice(-3)).toEqual([
      [2, 1],
      [2, 2],
      [2, 3],
    ]);
  });

  test("is stored once, however often it is sent", async () => {
    await using fixture = await startIngest();
    const id = device();
    await send(fixture, id, [1, 2, 3, 4, 5], follows);
    for (let attempt = 0; attempt < 3; attempt++)
      expect(await send(fixture, id, [1, 2], rebooted)).toMatchObject({ ackedThrough: 2, epoch: 2 });
    expect(await stored(fixture, id, 2)).toEqual([1, 2]);
    expect(await stored(fixture, id, 3)).toEqual([]);
  });

  test("loses nothing where it has gone past the mark when it is heard", async () => {
    await using fixture = await startIngest();
    const id = device();
    await send(fixture, id, [1, 2, 3], follows);
    await send(fixture, id, [1, 2, 3, 4, 5], rebooted);
    await send(fixture, id, [6], rebooted);
    const all = [...(await stored(fixture, id, 1)), ...(await stored(fixture, id, 2))];
    expect(all.toSorted((a, b) => a - b)).toEqual([1, 1, 2, 2, 3, 3, 4, 5, 6]);
    expect(await stored(fixture, id, 2)).toEqual([1, 2, 3, 6]);
  });

  test("is told to begin the next epoch, if the device names one", async () => {
    await using fixture = await startIngest();
    const id = device();
    await send(fixture, id, [1, 2, 3]);
    await expect(send(fixture, id, [1], { bootId: "boot-2" })).rejects.toMatchObject({
      reason: "STALE_EPOCH",
      metadata: { epoch: "1" },
    });
    // Told so, it would send the later ones twice.
    expect(await send(fixture, id, [3, 4], { bootId: "boot-2" })).toEqual({
      ackedThrough: 4,
      rejected: [{ sequence: 3n, field: "sequence", description: expect.any(String) }],
    });
    expect(await send(fixture, id, [1], { bootId: "boot-3", epoch: 2 })).toMatchObject({ ackedThrough: 1 });
    expect(await stored(fixture, id)).toEqual([1, 2, 3, 4]);
  });

  test("is told the same where it could not be looked up at first what is stored of it", async () => {
    await using fixture = await startIngest();
    const id = device();
    await send(fixture, id, [1, 2, 3]);
    const { pool } = fixture;
    const query = pool.query.bind(pool) as (...args: unknown[]) => unknown;
    let faults = 1;
    vi.spyOn(pool, "query").mockImplementation((...args: unknown[]) => {
      const { name } = args[0] as { readonly name?: string };
      if (name === "heartbeat_boots_stored" && faults-- > 0)
        throw new Error("Connection terminated unexpectedly");
      return query(...args);
    });
    // The transaction that stores 4 is committed by then: told to begin anew, the device would repeat it.
    const { result } = stream(fixture, {
      deviceId: id,
      records: records(id, [2, 3, 4], { bootId: "boot-2" }),
    });
    expect(await result).toMatchObject({
      ackedThrough: 4,
      rejected: [{ sequence: 2n }, { sequence: 3n }],
    });
    expect(faults).toBeLessThan(1);
    expect(await stored(fixture, id)).toEqual([1, 2, 3, 4]);
  });

  test("is not seen in what comes again of an earlier boot", async () => {
    await using fixture = await startIngest();
    const id = device();
    await send(fixture, id, [1, 2, 3], follows);
    await send(fixture, id, [4, 5], rebooted);
    expect(await send(fixture, id, [2, 3], follows)).toEqual({ ackedThrough: 5, rejected: [] });
    expect(await send(fixture, id, [3, 4, 5, 6], rebooted)).toMatchObject({ ackedThrough: 6 });
    expect(await stored(fixture, id)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(await stored(fixture, id, 2)).toEqual([]);
  });

  test("is told apart from repeats for each of many devices that come at once", async () => {
    await using fixture = await startIngest();
    const ids = Array.from({ length: 20 }, device);
    await Promise.all(ids.map((id) => send(fixture, id, [1, 2, 3], follows)));
    const answers = await Promise.all(
      ids.map((id, at) => send(fixture, id, [1, 2], at % 2 === 0 ? rebooted : follows)),
    );
    expect(answers).toEqual(
      ids.map((_, at) =>
        at % 2 === 0 ? { ackedThrough: 2, epoch: 2, rejected: [] } : { ackedThrough: 3, rejected: [] },
      ),
    );
  });

  test("is not seen where no boot is named", async () => {
    await using fixture = await startIngest();
    const id = device();
    await send(fixture, id, [1, 2, 3], { ...follows, bootId: "" });
    expect(await send(fixture, id, [1], { ...follows, bootId: "" })).toEqual({
      ackedThrough: 3,
      rejected: [],
    });
    expect(await stored(fixture, id)).toEqual([1, 2, 3]);
  });
});

describe("a counter at its end", () => {
  const last = Number.MAX_SAFE_INTEGER;

  test("goes on in a new epoch for heartbeats without a number", async () => {
    await using fixture = await startIngest();
    const id = device();
    await send(fixture, id, [last], follows);
    expect(await send(fixture, id, [0, 0], follows)).toEqual({ ackedThrough: 2, epoch: 2, rejected: [] });
    expect(await stored(fixture, id)).toEqual([last]);
    expect(await stored(fixture, id, 2)).toEqual([1, 2]);
    await expect(send(fixture, device(), [last, 0])).rejects.toMatchObject({ reason: "STALE_EPOCH" });
  });
});

test("a call with nothing to store is told how far the device's heartbeats are stored", async () => {
  await using fixture = await startIngest();
  const id = device();
  expect(await send(fixture, id, [])).toEqual({ ackedThrough: 0, rejected: [] });
  await send(fixture, id, [1, 2]);
  expect(await send(fixture, id, [])).toEqual({ ackedThrough: 2, rejected: [] });
  expect(await send(fixture, id, [], follows)).toEqual({ ackedThrough: 2, rejected: [] });
});
