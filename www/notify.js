// Shows notifications where a page may not, as on Android. It keeps nothing, and answers no request.

self.onnotificationclick = (event) => {
	const { notification } = event;
	notification.close();
	event.waitUntil(openPage(notification.data));
};

async function openPage(room) {
	const [page] = await self.clients.matchAll({ type: 'window', includeUncontrolled: true });
	if (!page) return self.clients.openWindow(`./#${encodeURIComponent(room)}`);
	page.postMessage(room);
	return page.focus();
}
