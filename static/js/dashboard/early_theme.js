/*
 * For pages whose frame is not ours (the admin): sets the chosen theme before anything is painted. A plain script,
 * since modules run too late for that. Our own pages come with it from the server.
 */
(() => {
  const [, theme] = document.cookie.match(/(?:^|; )theme=(light|dark)(?:;|$)/) ?? [];
  if (theme) document.documentElement.dataset.theme = theme;
})();
