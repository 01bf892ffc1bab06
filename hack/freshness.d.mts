export function fingerprint(root: string): string;
export function isFresh(root: string): boolean;
