// Messages on their way: they are sent one after the other, and again under the same key until an answer comes.

import { compareIds } from './state.js';
import { backoffMillis, randomKey, request, roomPath } from './network.js';

/**
 * `seenAs` is the id of the equal message that the stream told of while the answer is still awaited.
 * @typedef {{ key: string, room: string, name: string, text: string, status: 'queued' | 'sending' | 'stored' | 'failed',
 *   tries: number, retryAt: number, error?: any, eventId?: string, seenAs?: string }} Pending
 */

/** Messages that may wait to be sent. */
export const PENDING_MOST = 50;

/** @returns {Pending} */
export const newPending = (key, room, name, text) => ({ key, room, name, text, status: 'queued', tries: 0, retryAt: 0 });

/** Messages of an earlier visit to the page: what was on its way goes again. */
export function restorePending(chat, items) {
	chat.pending = items.map((item) => (item.status === 'failed' ? item : { ...item, status: 'queued', retryAt: 0 }));
}

export const addPending = (chat, item) => chat.pending.push(item);

export function dropPending(chat, item) {
	chat.pending = chat.pending.filter((other) => other !== item);
}

/** Writes an answer's meaning into the pending message that asked. */
export function applyAnswer(chat, item, answer, now = Date.now()) {
	if (answer.kind === 'failed' || answer.status) delete item.seenAs;
	if (answer.kind === 'done') {
		Object.assign(item, { status: 'stored', eventId: answer.eventId });
		if (chat.position && compareIds(answer.eventId, chat.position) <= 0) dropPending(chat, item);
	} else if (answer.kind === 'later') {
		const millis = answer.millis ?? backoffMillis(item.tries);
		Object.assign(item, { status: 'queued', tries: item.tries + 1, retryAt: now + millis, error: answer.status ? answer : undefined });
	} else if (answer.code === 'removed') {
		dropPending(chat, item); // It was stored, and has been removed since.
	} else {
		Object.assign(item, { status: 'failed', error: answer });
	}
}

/** The stream may tell of a message before the post's answer does: the pending one is then hidden until that comes. */
export function settlePending(chat, message) {
	chat.pending = chat.pending.filter(({ eventId }) => !eventId || compareIds(eventId, message.eventId) > 0);
	const twin = chat.pending.find((item) => item.status === 'sending' && !item.seenAs && item.room === message.room && item.name === message.name
		&& item.text.trimEnd() === message.text.trimEnd());
	if (twin) twin.seenAs = message.eventId;
}

/** Sends the pending messages one after the other, so that they keep their order. */
export function openOutbox(chat, changed) {
	let busy = false;
	let timer;

	async function flush() {
		clearTimeout(timer);
		const item = chat.pending.find(({ status }) => status === 'queued');
		if (busy || !item) return;
		const wait = item.retryAt - Date.now();
		if (wait > 0) return void (timer = setTimeout(flush, wait));
		busy = true;
		item.status = 'sending';
		changed();
		const { key, room, name, text } = item;
		const answer = await request(roomPath(room), { method: 'POST', headers: { 'Idempotency-Key': key }, json: { name, text } });
		busy = false;
		applyAnswer(chat, item, answer);
		changed();
		flush();
	}

	return {
		flush,
		/** The connection is back: what waits for it goes now, but not what the server asked to wait. */
		wake() {
			for (const item of chat.pending) if (item.status === 'queued' && !item.error) item.retryAt = 0;
			flush();
		},
		retry(item) {
			// Under another name than the refused one it is another message to the server.
			if (item.status === 'failed' && chat.name && item.name !== chat.name) Object.assign(item, { name: chat.name, key: randomKey() });
			Object.assign(item, { status: 'queued', tries: 0, retryAt: 0, error: undefined });
			flush();
		},
	};
}
