// Remembers small things. Where the browser refuses storage it remembers them as long as the page is open.

/** @param {() => Storage} area */
export function openStorage(area, prefix) {
	const memory = new Map();
	const attempt = (action) => {
		try {
			return action(area());
		} catch {
			return undefined;
		}
	};
	return {
		get: (key) => attempt((storage) => JSON.parse(storage.getItem(prefix + key) ?? 'null')) ?? memory.get(key) ?? null,
		set(key, value) {
			const kept = attempt((storage) => (value ? storage.setItem(prefix + key, JSON.stringify(value)) : storage.removeItem(prefix + key)) ?? true);
			if (!kept) memory.set(key, value);
		},
	};
}
