export function withLock<T>(path: string, work: () => Promise<T> | T, onWait?: (owner: string) => void): Promise<T>;
