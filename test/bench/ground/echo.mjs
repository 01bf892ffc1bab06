/** A tool that costs nothing and answers with some 200 bytes. */
export const echo = ({ n }) => ({ n, said: "as many words as a small lookup gives back, so that a record holds something ".repeat(2) });
