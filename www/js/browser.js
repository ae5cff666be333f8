// What the page uses of the browser: document, storage, clipboard, notifications. Texts enter the document as text nodes, never as HTML.

/** @type {(id: string) => any} */
export const $ = (id) => document.getElementById(id);

/** @returns {any} */
export function element(tag, properties = {}, ...children) {
	const { dataset, ...others } = /** @type {any} */ (properties);
	const node = Object.assign(document.createElement(tag), others);
	Object.assign(node.dataset, dataset);
	node.append(...children);
	return node;
}

export const buttonOf = (textContent, onclick, className = 'plain') => element('button', { type: 'button', className, textContent, onclick });

// Screen readers would read an equal text again.
export function setText(node, text) {
	if (node.textContent !== String(text)) node.textContent = text;
}

/** Makes the children of `parent` stand for `items`, in order, and keeps those that stood for them before. */
export function syncList(parent, items, keyOf, build, refresh = (..._) => {}) {
	/** @type {any} */
	const focused = document.activeElement;
	const kept = new Map([...parent.children].map((node) => [node.syncKey, node]));
	const nodes = items.map((item) => {
		const node = kept.get(keyOf(item)) ?? Object.assign(build(item), { syncKey: keyOf(item) });
		kept.delete(keyOf(item));
		refresh(node, item);
		return node;
	});
	for (const node of kept.values()) node.remove();
	for (const [at, node] of nodes.entries()) if (parent.children[at] !== node) parent.insertBefore(node, parent.children[at]);
	if (parent.contains(focused)) focused.focus({ preventScroll: true }); // A node that moves loses it.
}

/** A name's first letter on its colour; as generated content it is not copied with a message. */
export function paint(avatar, name, hue) {
	avatar.dataset.letter = [...name][0]?.toUpperCase() ?? '';
	avatar.style.setProperty('--hue', hue);
	return avatar;
}

export const avatarOf = (name, hue) => paint(element('span', { className: 'avatar', ariaHidden: 'true' }), name, hue);

export function translate(say) {
	document.documentElement.lang = say.language;
	for (const [key, property] of [['words', 'textContent'], ['label', 'ariaLabel'], ['hint', 'placeholder']]) {
		for (const node of document.querySelectorAll(`[data-${key}]`)) node[property] = say(/** @type {any} */ (node).dataset[key]);
	}
}

/** Remembers small things; where the browser refuses storage, as long as the page is open. */
export function openStorage(area, prefix) {
	const memory = new Map();
	const attempt = (action) => {
		try {
			return action(globalThis[area]);
		} catch {
			return undefined;
		}
	};
	return {
		get: (key) => attempt((storage) => JSON.parse(storage.getItem(prefix + key))) ?? memory.get(key),
		set(key, value) {
			if (!attempt((storage) => storage.setItem(prefix + key, JSON.stringify(value)) ?? true)) memory.set(key, value);
		},
	};
}

/** A page that came by plain http has no clipboard interface. */
export async function copyText(value) {
	if (navigator.clipboard) return navigator.clipboard.writeText(value);
	const field = element('textarea', { value, className: 'unseen' });
	document.body.append(field);
	field.select();
	document.execCommand('copy');
	field.remove();
}

export function notify(title, body, tag, onclick) {
	if (globalThis.Notification?.permission !== 'granted') return;
	try {
		new Notification(title, { body, tag }).addEventListener('click', onclick);
	} catch {
		// Android's browsers refuse the constructor: the count in the title has to do.
	}
}

export function beep() {
	const context = new AudioContext();
	const tone = context.createOscillator();
	tone.connect(context.destination);
	tone.onended = () => context.close();
	tone.start();
	tone.stop(context.currentTime + 0.1);
}
