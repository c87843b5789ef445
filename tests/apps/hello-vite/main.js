import version from './VERSION?raw';

document.body.append(version);
