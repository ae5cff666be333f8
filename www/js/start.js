// What runs first: it opens the stream, while the views still load.

import { getRoom, isAfter, newChat, openIn, rename } from './state.js';
import { isRoomName, roomAmong, roomOfFragment } from './text.js';
import { openFeed, openTabs, request } from './network.js';
import { wordsFor } from './words.js';

export const local = openStorage('localStorage');
export const tab = openStorage('sessionStorage');
// Others than English are fetched.
export const words = wordsFor([local.get('language'), ...navigator.languages]);

// By room: how far it was `read`. Whatever another device has sent gets this shape.
// A room may be called `__proto__`.
export const follows = (rooms = local.get('followed')) => Object.assign(Object.create(null), Object.fromEntries(
	Object.entries(rooms ?? {}).map(([room, entry]) => [room, { read: JSON.stringify(entry).match(/\d+-\d+/)?.[0] ?? '' }]),
));
export const followed = () => Object.keys(follows());

export const chat = newChat([tab, local].map((area) => area.get('name')).find((name) => typeof name === 'string') ?? '', (room) => follows()[room]?.read ?? '');
export const current = () => getRoom(chat, chat.open);
export const roomHere = (known = []) => roomAmong([...known, ...Object.keys(follows())], roomOfFragment(location.hash) || 'lobby');

/** @type {ReturnType<typeof openFeed>} */
export let feed;
export const tabs = openTabs(chat, () => feed?.reopen());

/** What the stream tells waits until `main` takes it. @type {any} */
export const told = { waiting: [], take: (what) => told.waiting.push(what) };

export function joinAs(name) {
	rename(chat, name);
	feed?.close();
	feed = openFeed(chat, tabs.listens, wanted, (what) => told.take(what));
	tabs.touch();
}

const wanted = () => [...new Set([chat.open, ...followed()])].filter((room) => isRoomName(room) && !chat.refused.has(room));

export function setFollowed(room, entry) {
	const { [room]: _, ...others } = follows();
	local.set('followed', entry ? { ...others, [room]: entry } : others);
	feed.reopen();
}

export function saveReads() {
	const rooms = follows();
	for (const { room, read } of chat.rooms.values()) {
		if (!read || !rooms[room] || !isAfter(read, rooms[room].read)) continue;
		rooms[room].read = read;
		local.set('followed', rooms);
	}
}

/** Falls back to memory where the browser refuses storage, or has no space left. */
function openStorage(area) {
	const memory = {};
	// Other paths may be other chats.
	const path = (key) => `chatroom ${location.pathname} ${key}`;
	return {
		get(key) {
			try {
				return memory[key] ?? JSON.parse(window[area][path(key)]);
			} catch {}
		},
		set(key, /** @type {any} */ value = '') {
			try {
				delete memory[key];
				if (value) window[area][path(key)] = JSON.stringify(value);
				else delete window[area][path(key)];
			} catch {
				memory[key] = value;
			}
		},
	};
}

openIn(chat, roomHere());
joinAs(chat.name);
// After the stream, which most wait for.
export const me = request('me');
