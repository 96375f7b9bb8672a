/** The most heartbeats of one message, as in the contract. */
export const maxBatchSize = 1_000;
